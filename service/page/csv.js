// Comma-separated values, as RFC 4180 defines them.

const SEPARATORS = [",", ";", "\t"];

// Spreadsheets run a cell that begins like this as a formula.
const FORMULA = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

// Where a spreadsheet that splits at semicolons or tabs begins another cell or row within a field, because it does not see
// the quotation marks around it: before a formula, and before a quotation mark, also the last one of the field, which would
// begin a quotation that hides those of the next rows.
const INNER = /[;\t\r\n](?=[^\S\t\r\n]*(?:["=+\-@\uff1d\uff0b\uff0d\uff20]|$))/g;

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
 * Write records. An apostrophe stands before everything in a string that a spreadsheet would run as a formula, at whichever
 * separator it splits. It sees the quotation marks of the first field at any separator.
 */
export function writeCsv(records) {
  const whole = (value) => (FORMULA.test(value) ? `'${value}` : value);
  const guarded = (value, index) => whole(index ? value.replace(INNER, "$&'") : value);
  const field = (value, index) => (typeof value === "string" ? `"${guarded(value, index).replaceAll('"', '""')}"` : value);
  return records.map((record) => `${record.map(field).join(",")}\r\n`).join("");
}

/** The names of columns, of which those that are empty or taken get a number. Spreadsheets ignore case. */
export function distinctNames(names, taken) {
  const known = new Set(taken.map((name) => name.toLowerCase()));
  return names.map((name, index) => {
    const base = name.trim() || `column_${index + 1}`;
    let found = base;
    for (let number = 2; known.has(found.toLowerCase()); number += 1) found = `${base}_${number}`;
    known.add(found.toLowerCase());
    return found;
  });
}
