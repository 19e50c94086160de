# The HTTP API in a container, from the wheel alone: python -m build --wheel && docker build -t nanostyle .
# docker run -e NANOSTYLE_TOKEN=... -p 127.0.0.1:8765:8765 nanostyle
FROM python:3.13-slim
COPY dist/nanostyle-*.whl /tmp/
RUN pip install --no-cache-dir "$(ls /tmp/nanostyle-*.whl)[gui]" && rm /tmp/nanostyle-*.whl
USER nobody
EXPOSE 8765
ENTRYPOINT ["nanostyle", "serve", "--host", "0.0.0.0", "--port", "8765"]
