"""What goes wrong with orchestrators and with their database."""

from tests.simulation.victims import Victims


class ServerFaults(Victims):
    """Each does it, if there is somebody to do it to; whether there was."""

    # --- orchestrators ------------------------------------------------------------------------------

    def _kill(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        self._note(one.name, "killed")
        one.kill()
        return True

    def _stop(self) -> bool:
        one = self._an_orchestrator()
        if one is None or not hasattr(one, "_stop"):
            return False
        self._note(one.name, "stops in good order")
        one.stop()
        return True

    def _pause(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        self._note(one.name, "paused")
        one.pause()
        self._for_a_while(15.0, one.resume)
        return True

    def _delay(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        self._note(one.name, "late")
        one.pause()
        self.world.at(self.world.between(0.02, 0.6), one.resume)
        return True

    def _cut_off(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        self._note(one.name, "cut off from the database")
        one.wire.is_cut_off = True
        self._for_a_while(20.0, one.wire.heal)
        return True

    # --- the database -------------------------------------------------------------------------------

    def _restart_database(self) -> bool:
        database = self.history.database
        if not database.is_up:
            return False
        self._note("database", "goes down")
        for one in self.history.orchestrators:
            for connection in list(one.wire.connections):
                connection.cut()
        database.go_down()

        def up() -> None:
            database.is_up = True
            self._note("database", "is up")

        self._for_a_while(20.0, up)
        return True

    def _freeze_database(self) -> bool:
        database = self.history.database
        if database.is_frozen:
            return False
        self._note("database", "freezes")
        database.is_frozen = True
        self._for_a_while(12.0, database.thaw)
        return True

    def _cut_database_connection(self) -> bool:
        one = self._an_orchestrator()
        if one is None or not one.wire.connections:
            return False
        busy = [connection for connection in one.wire.connections if connection.is_busy]
        connection = self.world.random.choice(busy or one.wire.connections)
        self._note(one.name, "loses a connection to the database")
        connection.cut()
        return True

    def _make_commits_flaky(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        wire = one.wire
        wire.flakiness = self.world.random.choice([0.1, 0.5, 0.9])

        def undo() -> None:
            wire.flakiness = 0.0

        self._note(one.name, "has flaky commits")
        self._for_a_while(6.0, undo)
        return True

    def _slow_database(self) -> bool:
        one = self._an_orchestrator()
        if one is None:
            return False
        wire = one.wire
        wire.slowness = self.world.random.choice([20, 200, 800])

        def undo() -> None:
            wire.slowness = 1.0

        self._note(one.name, "has a slow database")
        self._for_a_while(10.0, undo)
        return True

    def _fill_disk(self) -> bool:
        database = self.history.database
        database.is_full = True

        def undo() -> None:
            database.is_full = False

        self._note("database", "has a full disk")
        self._for_a_while(10.0, undo)
        return True
