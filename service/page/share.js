// What a reader takes along: a link to the text, and the request as a command or a program.

import { byId } from "./dom.js";

const LONG_ARGUMENT = 30_000; // characters; Linux allows 128 KiB, and a character is up to 3 bytes

/** A link that opens the page with a text and a model. The fragment of an address is never sent to a server. */
export function linkTo(text, { name, version }) {
  const link = new URL(location.href);
  link.hash = new URLSearchParams({ text, model: name, version });
  return link.href;
}

/** The text, model and version in a fragment that `linkTo` wrote; null for any other fragment. */
export function sharedIn(fragment) {
  return fragment.startsWith("#text=") ? Object.fromEntries(new URLSearchParams(fragment.slice(1))) : null;
}

/** A command for shells. Escapes of JSON replace the characters that need escapes in single quotes. */
export function asCurl(body, needsKey) {
  const json = JSON.stringify(body).replace(/\\\\|['\x7f-\x9f]/g, (part) => `\\u${part.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const key = needsKey ? ' -H "x-api-key: $API_KEY"' : "";
  const command = `curl -s '${address()}'${key} -d`;
  return json.length > LONG_ARGUMENT ? `printf %s '${json}' | ${command} @-\n` : `${command} '${json}'\n`;
}

/** A program in Python. A string in JSON is one in Python, too. */
export function asPython(body, needsKey) {
  const fields = Object.entries(body).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  const key = needsKey ? ', headers={"x-api-key": os.environ["API_KEY"]}' : "";
  return `${needsKey ? "import os\n\n" : ""}import httpx

body = {${fields.join(", ")}}
answer = httpx.post("${address()}", json=body${key})
print(answer.raise_for_status().json())
`;
}

/** Copy a text, or show it for copying by hand: browsers let a page copy over HTTPS and on localhost only. */
export async function copy(content, done) {
  const field = byId("copy-by-hand");
  const copied = await navigator.clipboard?.writeText(content).then(() => true, () => false);
  field.hidden = Boolean(copied);
  byId("copied").textContent = copied ? done : "The browser does not allow this page to copy. Copy it yourself:";
  if (copied) return;
  field.value = content;
  field.focus();
  field.select();
}

const address = () => new URL("v1/predict", document.baseURI).href.replaceAll("'", "%27");
