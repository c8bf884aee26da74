"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => root.dataset.theme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });
  document.getElementById("save").addEventListener("click", () => {
    const text = document.getElementById("facts").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "report.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  const cards = [...document.querySelectorAll(".card")];
  const filters = [...document.querySelectorAll(".filters select")];
  const shown = () => cards.filter((card) => !card.hidden);
  const apply = () => {
    for (const card of cards) {
      card.hidden = filters.some((filter) =>
        filter.value && !` ${card.dataset[filter.name]} `.includes(` ${filter.value} `));
    }
    const count = document.getElementById("count");
    if (count) count.textContent = `${shown().length} of ${cards.length}`;
  };
  for (const filter of filters) filter.addEventListener("change", apply);
  document.getElementById("clear")?.addEventListener("click", () => {
    for (const filter of filters) filter.value = "";
    apply();
  });
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", () => {
      const [name, value] = link.dataset.show.split("=");
      for (const filter of filters) filter.value = filter.name === name ? value : "";
      apply();
    });
  }

  const dialog = document.querySelector("dialog");
  let open = null;
  const show = (card) => {
    open = card;
    dialog.querySelector(".picture").replaceChildren(card.querySelector("svg").cloneNode(true));
    dialog.querySelector(".about").replaceChildren(...card.querySelector("div").cloneNode(true).childNodes);
    if (!dialog.open) dialog.showModal();
  };
  const step = (from, by) => {
    const visible = shown();
    const next = visible[visible.indexOf(from) + by];
    if (next) { next.focus(); if (dialog.open) show(next); }
  };
  for (const card of cards) {
    card.addEventListener("click", () => show(card));
    card.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(card); }
      if (event.key === "ArrowRight") step(card, 1);
      if (event.key === "ArrowLeft") step(card, -1);
    });
  }
  dialog?.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(open, 1);
    if (event.key === "ArrowLeft") step(open, -1);
  });
  dialog?.addEventListener("close", () => open?.focus());
  dialog?.querySelector(".before").addEventListener("click", () => step(open, -1));
  dialog?.querySelector(".after").addEventListener("click", () => step(open, 1));
  dialog?.querySelector(".close").addEventListener("click", () => dialog.close());
  apply();
})();
