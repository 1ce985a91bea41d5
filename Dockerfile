# The server as one static binary with the explorer in it, run by a user that is not root. Nothing here needs BuildKit.
#
#   docker build -t aicli-web .
#   docker run -d -p 127.0.0.1:8080:8080 --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v /var/run/docker.sock:/var/run/docker.sock -v /var/lib/aicli:/var/lib/aicli aicli-web
#
# The engine mounts projects by their path on its own host. So the data directory must have one and the same path outside and
# inside, as above, and belong to the user 65532 there.
ARG NODE_IMAGE=node:22-bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm
# The binary needs nothing but its own files. An image with a shell in it, for looking around, works too.
ARG RUNTIME_IMAGE=scratch

FROM ${NODE_IMAGE} AS explorer
WORKDIR /src/web
# What is needed first comes first: a change of our code alone downloads nothing again.
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web/ ./
RUN npm run build

FROM ${GO_IMAGE} AS server
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=explorer /src/web/dist/explorer web/dist/explorer
# Two trees: what the server may write to is its own, all else is root's. SQLite wants a place for temporary files.
RUN mkdir -p /out/fixed/usr/bin /out/fixed/etc/ssl/certs /out/own/var/lib/aicli /out/own/tmp && \
    cp /etc/ssl/certs/ca-certificates.crt /out/fixed/etc/ssl/certs/ && \
    go build -trimpath -ldflags='-s -w' -o /out/fixed/usr/bin/aicli-web .

FROM ${RUNTIME_IMAGE}
COPY --from=server /out/fixed/ /
COPY --from=server --chown=65532:65532 /out/own/ /
ENV AICLI_ADDR=0.0.0.0:8080 AICLI_DATA_DIR=/var/lib/aicli
USER 65532:65532
WORKDIR /var/lib/aicli
VOLUME /var/lib/aicli
EXPOSE 8080
ENTRYPOINT ["/usr/bin/aicli-web"]
