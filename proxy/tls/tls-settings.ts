import { constants } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import { TICKET_PERIOD_MS } from '../../core/ticket-keys.ts';

/**
 * The TLS settings of every server here. TLS 1.2 only with forward secrecy and authenticated encryption: every client of
 * the last ten years that speaks TLS 1.2 supports one of these suites (Java 8, libpq with OpenSSL 1.0.1, Windows 7 or later
 * with ECDSA), and without CBC there are no padding or timing attacks. The server's order of preference applies, except
 * that ChaCha20 is used for clients that prefer it: devices without AES in hardware.
 */
export const TLS_SETTINGS = {
  minVersion: 'TLSv1.2',
  ciphers: [
    ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
    ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
    ...['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
    ...['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ].join(':'),
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_PRIORITIZE_CHACHA | constants.SSL_OP_NO_RENEGOTIATION,
  ecdhCurve: 'X25519MLKEM768:X25519:P-256:P-384',
  sessionTimeout: TICKET_PERIOD_MS / 1_000,
} as const satisfies TlsOptions;
