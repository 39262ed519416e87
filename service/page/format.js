// Formats numbers for people.

const grouped = new Intl.NumberFormat("en");

/** Format 5000 as 5,000. */
export const count = (number) => grouped.format(number);

/** Format with a sign, and with a real minus sign. */
export const signed = (number, digits = 4) => (number < 0 ? "\u2212" : "+") + Math.abs(number).toFixed(digits);

/** Format without a plus sign. */
export const plain = (number, digits = 4) => (number < 0 ? "\u2212" : "") + Math.abs(number).toFixed(digits);

/** Format a probability as a percentage. Shows 100 % or 0 % only if it is exact. */
export function percent(probability) {
  for (let digits = 1; digits < 7; digits++) {
    const text = (100 * probability).toFixed(digits);
    if (probability === 0 || probability === 1 || (Number(text) !== 0 && Number(text) !== 100)) return `${text}\u202f%`;
  }
  return `${(100 * probability).toPrecision(3)}\u202f%`;
}

/** 1 word, 2 words. */
export const several = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Whether a number speaks for a label or against it, which is also its CSS class. */
export const side = (number) => (number < 0 ? "against" : "for");
