// Values beside the pointer: the nearest curve or code within reach, and the map's value there.
(() => {
  const values = JSON.parse(document.getElementById("values").textContent);
  const made = (name) => Object.assign(document.createElement("div"), { className: name, hidden: true });
  const tip = document.body.appendChild(made("tip"));
  const reach = 12; // pixels
  const digits = (x) => Number(x).toPrecision(3);

  function nearest(xs, ys, toX, toY, x, y) {
    let best = -1, least = reach * reach;
    for (let k = 0; k < xs.length; k++) {
      const distance = (toX(xs[k]) - x) ** 2 + (toY(ys[k]) - y) ** 2;
      if (distance < least) [best, least] = [k, distance];
    }
    return best;
  }

  for (const picture of document.querySelectorAll("[data-box]")) {
    const numbers = (name) => picture.dataset[name].split(" ").map(Number);
    const [left, top, width, height] = numbers("box");
    const [low, high, bottom, upper] = numbers("extent");
    const image = picture.querySelector("img");
    const mark = picture.appendChild(made("mark"));
    const hide = () => { tip.hidden = mark.hidden = true; };

    function show(event) {
      const at = image.getBoundingClientRect();
      const toX = (z) => at.width * (left + width * (z - low) / (high - low));
      const toY = (z) => at.height * (top + height * (upper - z) / (upper - bottom));
      const x = event.clientX - at.left, y = event.clientY - at.top;
      const u = (x / at.width - left) / width, v = (y / at.height - top) / height;
      if (u < 0 || u > 1 || v < 0 || v > 1) return hide();
      let lines = [], spot = null;
      const code = nearest(values.codes.x, values.codes.y, toX, toY, x, y);
      if (code >= 0) {
        spot = [values.codes.x[code], values.codes.y[code]];
        lines.push("row " + values.codes.row[code] + (values.codes.label ? ", class " + values.codes.label[code] : ""));
      }
      if (picture.dataset.curves === "1") {
        for (const curve of values.curves) {
          const k = nearest(curve.x, curve.y, toX, toY, x, y);
          if (k < 0) continue;
          if (!spot) spot = [curve.x[k], curve.y[k]];
          lines.push(curve.text);
        }
      }
      const z = spot || [low + u * (high - low), upper - v * (upper - bottom)];
      lines.push("z = (" + digits(z[0]) + ", " + digits(z[1]) + ")");
      if (picture.dataset.grid === "1" && values.grid) {
        const rows = values.grid.values, row = rows[Math.min(rows.length - 1, Math.floor((1 - v) * rows.length))];
        const value = row[Math.min(row.length - 1, Math.floor(u * row.length))];
        if (value !== null) lines.push(values.grid.name + " " + digits(value));
      }
      tip.textContent = lines.join("\n");
      tip.hidden = false;
      mark.hidden = !spot;
      if (spot) {
        mark.style.left = image.offsetLeft + toX(spot[0]) + "px";
        mark.style.top = image.offsetTop + toY(spot[1]) + "px";
      }
      const box = tip.getBoundingClientRect();
      tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4)) + "px";
      tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4)) + "px";
    }
    picture.addEventListener("pointermove", show);
    picture.addEventListener("pointerdown", show);
    picture.addEventListener("pointerleave", hide);
  }
})();
