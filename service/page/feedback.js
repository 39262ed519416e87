// "Was this right?": tells the service which label is right, if the service takes feedback.

import { byId, make } from "./dom.js";
import { feedbackIdOf, post, Trouble } from "./service.js";

let asked = null; // the id of the answer that the question is about
let shown = null; // the label that it is shown with
let others = [];

/** Ask whether the label that an answer is shown with is right, unless it is none of `labels` or takes no feedback. */
export function askForFeedback(answer, label, labels) {
  asked = labels.includes(label) ? feedbackIdOf(answer) : undefined;
  shown = label;
  others = labels.filter((each) => each !== label);
  byId("feedback").hidden = !asked;
  byId("feedback-question").hidden = false;
  byId("feedback-others").hidden = true;
  byId("feedback-said").textContent = "";
}

/** Answer the buttons. */
export function startFeedback() {
  byId("feedback-yes").addEventListener("click", () => send(shown));
  byId("feedback-no").addEventListener("click", () => (others.length === 1 ? send(others[0]) : offerOthers()));
  byId("feedback-send").addEventListener("click", () => send(byId("feedback-label").value));
}

function offerOthers() {
  byId("feedback-label").replaceChildren(...others.map((each) => make("option", {}, each)));
  byId("feedback-others").hidden = false;
  byId("feedback-label").focus();
}

async function send(label) {
  const id = asked;
  let trouble = null;
  try {
    await post("v1/feedback", { request_id: id, label });
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    trouble = error;
  }
  if (asked !== id) return; // another text is shown
  byId("feedback-question").hidden = !trouble;
  byId("feedback-said").textContent = trouble ? `Your answer was not stored. ${trouble.message}` : "Thank you.";
  byId("feedback-said").focus();
}
