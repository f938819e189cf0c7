"use strict";
(() => {
  const box = document.getElementById("search");
  const input = box.querySelector("input");
  const message = box.querySelector("output");
  const lists = [...document.querySelectorAll("[data-list]")].map((list) => ({
    list,
    folded: [...list.querySelectorAll("details")],
    items: [...list.querySelectorAll("li")].map((item) => [item, item.textContent.toLowerCase()]),
  }));
  let isSearching = false;
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { list, folded, items } of lists) {
      let here = 0;
      for (const [item, text] of items) {
        item.hidden = !words.every((word) => text.includes(word));
        here += item.hidden ? 0 : 1;
      }
      list.hidden = here === 0;
      // only a search that begins or ends moves them, so that a reader can open and close them
      if (words.length > 0 !== isSearching) for (const one of folded) one.open = words.length > 0;
      found += here;
    }
    isSearching = words.length > 0;
    message.textContent = words.length ? `${found} found` : "";
  };
  input.addEventListener("input", filter);
  input.addEventListener("search", filter);
  box.classList.add("ready");
  if (input.value) filter();
})();
