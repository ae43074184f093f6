#!/bin/sh
# The certificate of Redis, signed by an authority of this installation alone. Run it in your overlay, then apply that:
#
#   sh ../../redis-certificate.sh            makes what is missing, and a new certificate in any case
#   sh ../../redis-certificate.sh new-ca     makes a new authority, which is trusted beside the present one; no certificate
#
# Of secrets/, only redis-ca.crt, redis-tls.crt and redis-tls.key go into the cluster. With redis-ca.key anyone can pretend
# to be Redis. docs/operations.md, "Redis over TLS", has the steps of a rotation.
set -eu
umask 077
mkdir -p secrets
cd secrets

AUTHORITY_DAYS=3650
CERTIFICATE_DAYS=730
# Where Podgate connects, and where an operator does who runs redis-cli in the pod.
NAMES='DNS:podgate-store,DNS:podgate-store.podgate.svc,DNS:podgate-redis,DNS:podgate-redis-0.podgate-redis,DNS:localhost'

# OpenSSL prints its progress, which nobody needs unless it fails.
quietly() { "$@" 2> openssl.log || { cat openssl.log >&2; exit 1; }; }

make_authority() {
  quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days "$AUTHORITY_DAYS" \
    -subj "/CN=Podgate Redis CA $(date +%Y-%m-%d)" -addext keyUsage=critical,keyCertSign \
    -keyout redis-ca.key.new -out redis-signer.crt.new
  cat redis-signer.crt.new $1 > redis-ca.crt.new
  mv redis-ca.key.new redis-ca.key
  mv redis-signer.crt.new redis-signer.crt
  mv redis-ca.crt.new redis-ca.crt
}

make_certificate() {
  printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n' \
    "$NAMES" > redis-tls.cnf
  quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj /CN=podgate-store \
    -keyout redis-tls.key.new -out redis-tls.csr
  quietly openssl x509 -req -sha256 -days "$CERTIFICATE_DAYS" -in redis-tls.csr -CA redis-signer.crt -CAkey redis-ca.key \
    -set_serial "0x$(openssl rand -hex 16)" -extfile redis-tls.cnf -out redis-tls.crt.new
  mv redis-tls.key.new redis-tls.key
  mv redis-tls.crt.new redis-tls.crt
  rm -f redis-tls.csr redis-tls.cnf
}

case "${1:-}" in
  new-ca)
    [ -f redis-signer.crt ] || { echo 'there is no authority yet: run it without an argument' >&2; exit 2; }
    make_authority redis-signer.crt
    ;;
  '')
    [ -f redis-ca.key ] || make_authority ''
    make_certificate
    ;;
  *)
    echo 'use: sh redis-certificate.sh [new-ca]' >&2
    exit 2
    ;;
esac
rm -f openssl.log
