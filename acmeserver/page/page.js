// Adds a copy button to each box with text to copy. The page works without it.
for (const box of document.querySelectorAll(".copyable")) {
  const text = box.querySelector("pre"), button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + box.dataset.what);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent.trim());
      button.textContent = "Copied";
      document.getElementById("told").textContent = box.dataset.what + " copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  box.append(button);
  box.classList.add("scripted");
}
