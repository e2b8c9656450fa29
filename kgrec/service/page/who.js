// Who gets a list: likes as chips, a sentence, a user id.

import { combobox } from "/page/combobox.js";
import { debounce, h, labelled } from "/page/dom.js";
import { chips, learnNames, makeFind, nameOf } from "/page/parts.js";
import { getState, note } from "/page/state.js";

const USER_MS = 1000; // an id that is half typed is nobody's
const SENTENCE_MS = 400; // after the last letter; a sentence takes the service longer than likes

// onchange: called when the user is another one; the state has it already.
export function whoPanel(onchange, { texts = true } = {}) {
  const list = chips({ label: "Likes", onremove: (id) => change({ like: (getState().like ?? []).filter((each) => each !== id) }), field: () => search.input });
  const search = combobox({
    label: "Likes", placeholder: "Search items by name or id", find: makeFind(),
    choose: ({ id }) => {
      addLike(id);
      return "";
    },
  });
  const sentence = h("input", { type: "text", placeholder: "What they want, in words", maxlength: "2000", value: getState().text ?? "" });
  const user = h("input", { type: "text", placeholder: "Id of a known user", maxlength: "512", autocomplete: "off", spellcheck: "false", value: getState().user ?? "" });
  for (const [name, input, wait] of [["text", sentence, SENTENCE_MS], ["user", user, USER_MS]]) {
    const now = () => input.isConnected && change({ [name]: input.value.trim() });
    input.addEventListener("input", debounce(wait, now));
    input.addEventListener("change", now); // Enter, or the focus leaves
  }

  function change(changes) {
    const before = JSON.stringify(readWho());
    note(changes);
    show();
    if (JSON.stringify(readWho()) !== before) onchange();
  }

  function show() {
    list.show((getState().like ?? []).map((id) => ({ id, title: nameOf(id) })));
  }

  function addLike(id) {
    change({ like: [...(getState().like ?? []).filter((each) => each !== id), id] });
  }

  show();
  learnNames(getState().like ?? []).then(show, () => {});
  return {
    element: h("section", { class: "panel who", "aria-label": "Who gets the list" },
      h("div", { class: "who-likes" }, search.element, list.element),
      texts ? labelled("A sentence", sentence) : null, labelled("A user", user)),
    addLike,
  };
}

// The user of a request, as the state has it.
export function readWho() {
  const { like, text, user } = getState();
  return { ...(like?.length ? { likes: like } : {}), ...(text ? { text } : {}), ...(user ? { user } : {}) };
}
