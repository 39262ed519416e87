// An inspection, the answer of `/v1/inspect`: its sizes, the words at its positions, and the places of its filters.
//
// A place is an index of a curve. The convolution may add zeros around the ids and skip words between the taps of a
// filter, so places and positions of ids differ.

export const TIMES = "\u2009\u00d7\u2009";

export const timeOf = (inspection) => inspection.ids.length;
export const dimensionsOf = (inspection) => inspection.embedding[0].length;

/**
 * Whether the model is stored as tables, which contain the dot products of each word and the filters. Then the numbers of a
 * word are those of the filter that is shown, one for each tap, and the filter only picks them.
 */
export const isTables = ({ filter: { kernel } }) => kernel.every((row, tap) => row.length === kernel.length && row.every((value, place) => value === Number(tap === place)));

/** The positions of the ids in a picture, from the first one to before the last: all, or without most of the padding. */
export function pictured(inspection, withoutPadding) {
  const { banks, first_word: first, explanation: { words } } = inspection;
  const around = Math.max(...banks.map(spanOf)); // a filter on the first word begins before it
  return withoutPadding ? [Math.max(0, first - around), Math.min(timeOf(inspection), first + words.length + around)] : [0, timeOf(inspection)];
}

/** The bank of the filter that is shown. */
export const bankOf = (inspection) => inspection.banks[inspection.filter.bank];

/** Ids from the first tap of a filter to the last. */
export const spanOf = (bank) => (bank.width - 1) * bank.dilation + 1;

/** The number of places of a filter. */
export const placesOf = (inspection, bank) => timeOf(inspection) + bank.padding[0] + bank.padding[1] - spanOf(bank) + 1;

/** The position of the id under the first tap; below 0 in the zeros in front of the ids. */
export const startOf = (bank, place) => place - bank.padding[0];

/** The positions of the ids under all taps. */
export const positionsUnder = (bank, place) =>
  Array.from({ length: bank.width }, (_, tap) => startOf(bank, place) + tap * bank.dilation);

/** The word at a position; undefined for padding, the start id and zeros. */
export const wordAt = (inspection, position) => inspection.explanation.words[position - inspection.first_word];

/** Whether the start id is at a position. */
export const isStart = (inspection, position) =>
  !wordAt(inspection, position) && inspection.ids[position] === inspection.tokenizer.start_id;

/** The name of what is at a position. */
export function nameAt(inspection, position) {
  if (isStart(inspection, position)) return "start";
  return wordAt(inspection, position)?.text ?? (position in inspection.ids ? "pad" : "zeros");
}

/** The words under a filter at a place. */
export function wordsUnder(inspection, bank, place) {
  const positions = positionsUnder(bank, place);
  if (!positions.some((position) => wordAt(inspection, position) || isStart(inspection, position))) return "padding";
  return `\u201c${positions.map((position) => nameAt(inspection, position)).join(" ")}\u201d`;
}
