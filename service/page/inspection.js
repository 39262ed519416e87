// An inspection, the answer of `/v1/inspect`: its sizes, and its words by their position.

export const TIMES = "\u2009\u00d7\u2009";

export const timeOf = (inspection) => inspection.ids.length;
export const dimensionsOf = (inspection) => inspection.embedding[0].length;

/** The word at a position, or what stands there instead. */
export function nameAt(inspection, place) {
  const word = inspection.explanation.words[place - inspection.first_word];
  if (word) return word.text;
  return inspection.ids[place] === 1 ? "start" : "pad";
}

/** The words under a filter at a position. */
export function wordsUnder(inspection, place, width) {
  const words = Array.from({ length: width }, (_, tap) => nameAt(inspection, place + tap));
  if (words.every((word, tap) => word === "pad" && !inspection.explanation.words[place + tap - inspection.first_word])) return "padding";
  return `\u201c${words.join(" ")}\u201d`;
}
