# An agent: the distribution without its server part.
# The same in both files, so that it is built once: the package, with the browser's pages in it.
FROM python:3.13-slim AS wheel
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.13-slim AS build
COPY --from=wheel /wheel /wheel
COPY constraints.txt /
# The versions that the tests ran with.
RUN python -m venv /opt/curta && /opt/curta/bin/pip install --no-cache-dir --constraint /constraints.txt /wheel/*.whl

FROM python:3.13-slim
# The same user in both images: tokens made by one are read by the other through a volume.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin curta \
    && install -d -o curta -g curta -m 0700 /agent-token
COPY --from=build /opt/curta /opt/curta
# Its own port stays inside the container: the health check asks there.
ENV PATH=/opt/curta/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CURTA_HTTP=127.0.0.1:9000
USER curta
WORKDIR /home/curta
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=5 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9000/healthz', timeout=2)"]
ENTRYPOINT ["curta"]
CMD ["agent"]
