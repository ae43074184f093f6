import { isIPv4 } from 'node:net';
import { crc32c } from './crc32c.ts';
import { VERSION_2_SIGNATURE } from './version-2.ts';

export interface Endpoint {
  /** IPv4 or IPv6, without a zone. */
  readonly address: string;
  readonly port: number;
}

/** TLS terminated here, for pods that want to know. */
export interface EndedTls {
  /** For example `TLSv1.3`. */
  readonly version: string;
  /** OpenSSL's cipher name. */
  readonly cipher: string;
  /** Null if the client presented no valid certificate. */
  readonly clientCertificate: { readonly commonName: string | null } | null;
}

/** A client connection as described in a PROXY header. */
export interface ProxiedConnection {
  readonly id: string;
  readonly source: Endpoint;
  /** The address that the client connected to. */
  readonly destination: Endpoint;
  readonly serverName: string | null;
  /** The negotiated protocol, if any. */
  readonly alpn: string | null;
  /** Null if the pod terminates TLS itself. */
  readonly tls: EndedTls | null;
}

const VERSION_2_PROXY = 0x21;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;

/** Of proxy-protocol.txt, section 2.2. */
const TLV = { alpn: 0x01, authority: 0x02, crc32c: 0x03, uniqueId: 0x05, tls: 0x20 } as const;
const TLS_TLV = { version: 0x21, commonName: 0x22, cipher: 0x23 } as const;
const CLIENT_TLS = 0x01;
const CLIENT_CERTIFICATE = 0x02 | 0x04;
const COMMON_NAME_MAX_BYTES = 256;
const CRC32C_BYTES = 4;
/** Length of the fixed part: signature, version and command, family, length. */
const FIXED_BYTES = 16;

/** The header to send before a client's first byte (proxy-protocol.txt of HAProxy, 2020/03/05). Pure. */
export function writeProxyHeader(version: 'v1' | 'v2', connection: ProxiedConnection): Buffer {
  return version === 'v1' ? writeVersion1(connection) : writeVersion2(connection);
}

function writeVersion1({ source, destination }: ProxiedConnection): Buffer {
  const family = areIPv4(source, destination) ? 'TCP4' : 'TCP6';
  const address = family === 'TCP4' ? (text: string) => text : asIPv6;
  const addresses = `${address(source.address)} ${address(destination.address)}`;
  return Buffer.from(`PROXY ${family} ${addresses} ${source.port} ${destination.port}\r\n`, 'latin1');
}

/** Includes a checksum, which costs a microsecond per connection. */
function writeVersion2(connection: ProxiedConnection): Buffer {
  const { source, destination, id, serverName, alpn, tls } = connection;
  const isIPv4Alone = areIPv4(source, destination);
  const bytesOf = isIPv4Alone ? ipv4Bytes : ipv6Bytes;
  const vectors = [
    ...(alpn === null ? [] : [vector(TLV.alpn, Buffer.from(alpn, 'latin1'))]),
    ...(serverName === null ? [] : [vector(TLV.authority, Buffer.from(serverName, 'latin1'))]),
    ...(tls === null ? [] : [vector(TLV.tls, tlsVector(tls))]),
    vector(TLV.uniqueId, Buffer.from(id, 'latin1')),
    vector(TLV.crc32c, Buffer.alloc(CRC32C_BYTES)),
  ];
  const block = Buffer.concat([
    bytesOf(source.address),
    bytesOf(destination.address),
    uint16(source.port),
    uint16(destination.port),
    ...vectors,
  ]);
  const family = isIPv4Alone ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
  const fixed = Buffer.concat([VERSION_2_SIGNATURE, Buffer.from([VERSION_2_PROXY, family]), uint16(block.length)]);
  const header = Buffer.concat([fixed, block], FIXED_BYTES + block.length);
  // Computed over the whole header with zeros in the checksum field (section 2.2.3), which is the last one.
  header.writeUInt32BE(crc32c(header), header.length - CRC32C_BYTES);
  return header;
}

/** pp2_tlv_ssl (section 2.2.6): what the client did, the result of the verification (0 = valid), and nested TLVs. */
function tlsVector({ version, cipher, clientCertificate }: EndedTls): Buffer {
  const did = CLIENT_TLS | (clientCertificate === null ? 0 : CLIENT_CERTIFICATE);
  const result = Buffer.alloc(4);
  result.writeUInt32BE(clientCertificate === null ? 1 : 0);
  const commonName = Buffer.from(clientCertificate?.commonName ?? '', 'utf8');
  return Buffer.concat([
    Buffer.from([did]),
    result,
    vector(TLS_TLV.version, Buffer.from(version, 'latin1')),
    vector(TLS_TLV.cipher, Buffer.from(cipher, 'latin1')),
    // X.520 allows 64 characters. A far longer one is not a name, and receivers limit the size of the header.
    ...(commonName.length === 0 || commonName.length > COMMON_NAME_MAX_BYTES
      ? []
      : [vector(TLS_TLV.commonName, commonName)]),
  ]);
}

function vector(type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), uint16(value.length), value]);
}

function areIPv4(source: Endpoint, destination: Endpoint): boolean {
  return isIPv4(source.address) && isIPv4(destination.address);
}

function asIPv6(address: string): string {
  return isIPv4(address) ? `::ffff:${address}` : address;
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

/** Maps an IPv4 address to IPv6: both addresses of a header must be of the same family. */
function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = hexGroups(asIPv6(address)).split('::');
  const groups = (text: string): readonly string[] => (text === '' ? [] : text.split(':'));
  const last = groups(tail ?? '');
  const zeros = 8 - groups(head).length - last.length;
  const all = [...groups(head), ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...last];
  return Buffer.concat(all.map((group) => uint16(Number.parseInt(group, 16))));
}

/** `::ffff:192.0.2.7` -> `::ffff:c000:207`. */
function hexGroups(address: string): string {
  return address.replace(/\d+\.\d+\.\d+\.\d+$/, (dotted) => {
    const bytes = ipv4Bytes(dotted);
    return `${bytes.readUInt16BE(0).toString(16)}:${bytes.readUInt16BE(2).toString(16)}`;
  });
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
