# One image for both services: `python -m gateway_service` (the default) and `python -m worker_service`.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/taskcast
WORKDIR /source
COPY . .
# The lock also holds what development needs: used as a constraint, it fixes versions and adds nothing.
RUN /opt/taskcast/bin/pip install --constraint requirements.lock ".[examples]"

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin taskcast
COPY --from=build /opt/taskcast /opt/taskcast
# The working folder is on the import path: mount your own handlers here and name them in WORKER_HANDLERS.
WORKDIR /srv/taskcast
COPY examples examples
ENV PATH=/opt/taskcast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER taskcast
EXPOSE 50051 8080
CMD ["python", "-m", "gateway_service"]
