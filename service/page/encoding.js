// The encoding of a file of texts.

export const UTF_8 = "utf-8";
export const WINDOWS_1252 = "windows-1252";
export const UTF_16 = "utf-16";

/** The names of the encodings that a reader can choose, by their values. */
export const ENCODINGS = [[UTF_8, "UTF-8"], [WINDOWS_1252, "Windows-1252"], [UTF_16, "UTF-16"]];

const MARKS = [[UTF_8, [0xef, 0xbb, 0xbf]], [UTF_16, [0xff, 0xfe]], [UTF_16, [0xfe, 0xff]]];

/** The encoding that the byte order mark of a file states; undefined if it has none. */
export function markedEncoding(bytes) {
  return MARKS.find(([, mark]) => mark.every((byte, index) => bytes[index] === byte))?.[0];
}

/** The encoding that a file most probably has. Text contains no zero bytes, except in UTF-16. */
export function likeliestEncoding(bytes) {
  return markedEncoding(bytes) ?? (bytes.includes(0) ? UTF_16 : decode(bytes, UTF_8) === null ? WINDOWS_1252 : UTF_8);
}

/** Decode a file without its byte order mark. Null if it does not have this encoding. */
export function decode(bytes, encoding) {
  const label = encoding !== UTF_16 ? encoding : isBigEndian(bytes) ? "utf-16be" : "utf-16le";
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** Whether the first byte of a code unit is the high one. It is 0 for most characters of a header. */
function isBigEndian(bytes) {
  if (markedEncoding(bytes) === UTF_16) return bytes[0] === 0xfe;
  const first = bytes.subarray(0, 1000);
  const zeros = (odd) => first.filter((byte, index) => byte === 0 && index % 2 === odd).length;
  return zeros(0) > zeros(1);
}
