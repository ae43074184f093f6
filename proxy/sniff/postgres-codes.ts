/** Numbers of the first packets of a Postgres connection (Postgres 18 documentation, 54.7 and 54.2). */
export const CODE_CANCEL_REQUEST = 80_877_102;
export const CODE_SSL_REQUEST = 80_877_103;
export const CODE_GSSENC_REQUEST = 80_877_104;
/** Upper half of a StartupMessage's code; the lower half is the minor version (0 and 2 exist). */
export const PROTOCOL_MAJOR = 3;
/** Int32 length (which counts itself) and Int32 code. */
export const PACKET_HEADER_BYTES = 8;
/** The server's own limit (MAX_STARTUP_PACKET_LENGTH). */
export const STARTUP_MAX_BYTES = 10_000;
