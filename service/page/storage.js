// What a tab keeps until it is closed. If the browser refuses to store it, the page keeps it until the reader leaves it.

const unstored = new Map();

/** The value that is kept under a name; null if there is none. */
export function recall(name) {
  if (unstored.has(name)) return unstored.get(name);
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keep a value under a name. */
export function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
    unstored.delete(name);
  } catch {
    unstored.set(name, value);
  }
}

/** Keep nothing under a name any more. */
export function drop(name) {
  unstored.delete(name);
  try {
    sessionStorage.removeItem(name);
  } catch {
    // There is nothing to remove.
  }
}
