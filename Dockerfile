# Podgate in a container, with the embedded store and pods as processes of the same container:
#
#   docker build -t podgate .
#   docker run --rm -v podgate:/data -p 127.0.0.1:8443:8443 -p 127.0.0.1:8080:8080 \
#     -e PODGATE_HOST=0.0.0.0 -e PODGATE_ALLOW_REMOTE_PROCESS_PODS=yes podgate
#
# The two settings are yours to give: whoever reaches the API runs programs in this container. The token for the API is
# in the volume: docker exec CONTAINER cat /data/admin.token

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Brings the Node that the program runs on, too: the one of this stage is for npm alone.
RUN npm ci --omit=dev --no-audit --no-fund \
  && rm -rf node_modules/node-linux-*/include node_modules/node-linux-*/share

FROM debian:bookworm-slim
# Node needs libatomic1. tini is process 1: pods that outlive a restart of their parent become its children, and it
# waits for them. Pods need the shell of the base image, and initdb a user with an entry in /etc/passwd.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libatomic1 tini \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin podgate \
  && install -d -o podgate -g podgate -m 0700 /data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json main.ts ./
COPY bin bin
COPY certs certs
COPY cli cli
COPY config config
COPY control control
COPY core core
COPY main main
COPY proxy proxy
COPY spawner spawner
ENV NODE_ENV=production PODGATE_DATA_DIR=/data PATH=/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 10001:10001
VOLUME /data
EXPOSE 8443 8080
HEALTHCHECK --interval=10s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:8000/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--", "node", "main.ts"]
