# The program `annals` for PostgreSQL, with `annals serve`.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
# For jemalloc.
RUN apt-get update && apt-get install --yes --no-install-recommends make
COPY . .
RUN cargo build --locked --release --no-default-features \
        -p annals-cli --features postgres,serve,jemalloc \
    && strip target/release/annals

FROM ${BASE_IMAGE}
# For TLS to the database.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/annals /usr/local/bin/
# An unprivileged user that owns no file.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["annals"]
CMD ["serve"]
