// Comma-separated values, as RFC 4180 defines them.

const SEPARATORS = [",", ";", "\t"];

// Spreadsheets run a cell that begins like this as a formula.
const FORMULA = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/** The separator of a file: the first one of its header. Spreadsheets write a semicolon in many countries. */
export function separatorOf(content) {
  const [header] = content.split(/[\r\n]/, 1);
  return SEPARATORS.filter((each) => header.includes(each)).sort((one, other) => header.indexOf(one) - header.indexOf(other))[0] ?? ",";
}

/** Parse records of fields. Blank lines are no records. Throws an `Error` that names the record which is malformed. */
export function parseCsv(content, separator = separatorOf(content)) {
  const field = new RegExp(`(?:"([^"]*(?:""[^"]*)*)"|([^"\\r\\n${separator}][^\\r\\n${separator}]*|))(${separator}|\\r\\n|\\n|\\r|$)`, "y");
  const records = [];
  for (let record = []; ;) {
    const match = field.exec(content);
    if (!match) throw new Error(`Record ${records.length + 1} has a quotation mark that does not end its field.`);
    const [, quoted, bare, end] = match;
    record.push(quoted?.replaceAll('""', '"') ?? bare);
    if (end === separator) continue;
    if (record.length > 1 || record[0] || quoted !== undefined) {
      if (records.length && record.length !== records[0].length) {
        throw new Error(`Record ${records.length + 1} has ${record.length} fields and the header has ${records[0].length}. A text with a separator needs quotation marks.`);
      }
      records.push(record);
    }
    if (!end) return records;
    record = [];
  }
}

/**
 * Write records. Strings that a spreadsheet would run get an apostrophe in front. Put the strings of strangers into the
 * first field: elsewhere, a spreadsheet that separates at semicolons would not see their quotation marks.
 */
export function writeCsv(records) {
  const quote = (value) => `"${(FORMULA.test(value) ? `'${value}` : value).replaceAll('"', '""')}"`;
  return records.map((record) => `${record.map((value) => (typeof value === "string" ? quote(value) : value)).join(",")}\r\n`).join("");
}
