// CRC-32 (IEEE 802.3, as zlib's): the platform's own where it has one.

export { crc32 } from '#platform'
