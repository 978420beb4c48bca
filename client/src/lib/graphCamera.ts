// The part of the graph that is on the screen: where its top left corner lies, and how large things are.
//
// Pure; the graph moves it by dragging, wheel, pinch, buttons and keys, and draws by it (an SVG's viewBox).
import type { Box } from './graphLayout';

export interface Camera {
  x: number;
  y: number;
  /** Pixels of the screen for one of the graph. */
  scale: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

export const SCALE_MAX = 2.5;
/** Below this one reads nothing any more, but sees how the plan lights up. */
export const SCALE_MIN = 0.04;
/** A graph that would be smaller than this as a whole opens at its root instead. */
const SCALE_OPENING = 0.22;
const SCALE_AT_ROOT = 0.7;
/** On a phone nothing smaller than that can be read, nor touched. */
const NARROW = 560;
const SCALE_SMALL = 1.25;

/** All of it in the middle. */
export function whole(box: Box, size: Size): Camera {
  const scale = clamp(Math.min(size.width / box.width, size.height / box.height), SCALE_MIN, SCALE_SMALL);
  return {
    x: box.x + box.width / 2 - size.width / scale / 2,
    y: box.y + box.height / 2 - size.height / scale / 2,
    scale,
  };
}

/**
 * All of it where that can be seen, else a part at a size that can be read: around the root, moved as far as it
 * takes to have `focus` on the screen.
 */
export function opening(box: Box, size: Size, root: Point, isDown: boolean, focus = root): Camera {
  const all = whole(box, size);
  if (all.scale >= (size.width < NARROW ? SCALE_AT_ROOT : SCALE_OPENING)) return all;
  const scale = SCALE_AT_ROOT;
  const [width, height] = [size.width / scale, size.height / scale];
  const atRoot = isDown
    ? { x: root.x - width / 2, y: root.y - 60, scale }
    : { x: root.x + 90 - width, y: root.y - height / 2, scale };
  return focus === root ? atRoot : showing(atRoot, focus, size);
}

/** Larger or smaller around a point of the screen, which stays where it is. */
export function zoomed(camera: Camera, factor: number, at: Point): Camera {
  const scale = clamp(camera.scale * factor, SCALE_MIN, SCALE_MAX);
  return {
    x: camera.x + at.x / camera.scale - at.x / scale,
    y: camera.y + at.y / camera.scale - at.y / scale,
    scale,
  };
}

/** Moved by pixels of the screen, but never so far that nothing of the graph is left. */
export function moved(camera: Camera, dx: number, dy: number, box: Box, size: Size): Camera {
  const keep = 60 / camera.scale;
  return {
    ...camera,
    x: clamp(
      camera.x - dx / camera.scale,
      box.x - size.width / camera.scale + keep,
      box.x + box.width - keep,
    ),
    y: clamp(
      camera.y - dy / camera.scale,
      box.y - size.height / camera.scale + keep,
      box.y + box.height - keep,
    ),
  };
}

/** Moved as little as it takes to have a point on the screen, with some room around it. */
export function showing(camera: Camera, point: Point, size: Size): Camera {
  const room = Math.min(90, size.width / 4, size.height / 4) / camera.scale;
  const [width, height] = [size.width / camera.scale, size.height / camera.scale];
  return {
    ...camera,
    x: clamp(camera.x, point.x - width + room, point.x - room),
    y: clamp(camera.y, point.y - height + room, point.y - room),
  };
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}
