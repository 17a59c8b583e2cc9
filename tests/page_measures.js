// What tests/test_browser.py reads of an open page. Everything is measured as the browser has laid it out.
window.pageMeasures = (() => {
  "use strict";

  // A short selector: the element and its parent, with their first classes.
  function selector(element) {
    const part = (one) => one.localName + (one.id ? "#" + one.id : [...one.classList].slice(0, 2).map((name) => "." + name).join(""));
    const parent = element.parentElement;
    return (parent && parent !== document.body && !element.id ? part(parent) + " > " : "") + part(element);
  }

  const excerpt = (text) => { const words = text.trim().replace(/\s+/g, " "); return words.length > 50 ? words.slice(0, 50) + "…" : words; };

  // Colours ------------------------------------------------------------------------------------------------------
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true }), known = new Map();

  // Red, green and blue from 0 to 255 and the opacity from 0 to 1 of any colour that CSS can name.
  function rgba(colour) {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [red, green, blue, alpha / 255]);
    }
    return known.get(colour);
  }

  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const faded = (colour, by) => [...colour.slice(0, 3), colour[3] * by];
  const hex = (colour) => "#" + colour.slice(0, 3).map((part) => Math.round(part).toString(16).padStart(2, "0")).join("");

  function luminance(colour) {
    const [red, green, blue] = colour.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function ratio(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  // The colour behind an element, and how opaque the element is on it. Pictures and gradients are not looked at: the
  // book has them only as shadows at the edges of tables.
  function backdrop(element) {
    const layers = [];
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at), colour = rgba(style.backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
      opacity *= parseFloat(style.opacity);
    }
    return { colour: layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]), opacity };
  }

  // Shapes of a drawing that lie under a point of the window, the lowest first: what is painted before the text.
  const SHAPES = "path, rect, circle, ellipse, polygon";
  function shapesBelow(text, x, y) {
    return [...text.ownerSVGElement.querySelectorAll(SHAPES)].filter((shape) => {
      if (!(shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING) || shape.closest("defs, clipPath, marker")) return false;
      const box = shape.getBoundingClientRect(), fill = getComputedStyle(shape).fill;
      if (x < box.left || x > box.right || y < box.top || y > box.bottom || !/^(rgb|color)/.test(fill)) return false;
      return shape.isPointInFill(new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse()));
    });
  }

  // Every piece of text that is seen: its element, its words, and the colours of text and ground with least contrast.
  function* texts() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (!node.data.trim() || element.closest("script, style, noscript, option, mjx-assistive-mml") || !isSeen(element)) continue;
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (!box.width || !box.height) continue;
      yield element.ownerSVGElement ? drawn(element, node.data, box) : written(element, node.data, getComputedStyle(element).color);
    }
    for (const element of document.body.querySelectorAll("*")) {
      if (!isSeen(element)) continue;
      if (element.matches("select, textarea")) yield written(element, element.value, getComputedStyle(element).color);
      if (element.matches("input")) {
        yield written(element, element.value || element.placeholder, getComputedStyle(element, element.value ? null : "::placeholder").color);
      }
      for (const side of ["::before", "::after"]) {
        const style = getComputedStyle(element, side);
        if (/["'].*\S.*["']/.test(style.content) && style.display !== "none" && style.position !== "fixed") {
          yield written(element, side + " " + style.content, style.color);
        }
      }
    }
  }

  // Hidden, or kept for screen readers alone by a box of one pixel; what cannot be used need not be read.
  function isSeen(element) {
    if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || element.closest(":disabled")) return false;
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      if (at.offsetWidth !== undefined && at.offsetWidth <= 1 && at.offsetHeight <= 1 && getComputedStyle(at).display !== "contents") return false;
    }
    return true;
  }

  function written(element, words, colour) {
    const ground = backdrop(element);
    return { element, words, text: over(faded(rgba(colour), ground.opacity), ground.colour), ground: ground.colour };
  }

  function drawn(element, words, box) {
    const page = backdrop(element), style = getComputedStyle(element), middle = (box.top + box.bottom) / 2;
    const colour = faded(rgba(style.fill), parseFloat(style.fillOpacity) * page.opacity);
    const places = [box.left + box.width * 0.02, (box.left + box.right) / 2, box.right - box.width * 0.02].map((x) => {
      const ground = shapesBelow(element, x, middle).reduce((below, shape) => {
        const of = getComputedStyle(shape);
        return over(faded(rgba(of.fill), parseFloat(of.fillOpacity) * parseFloat(of.opacity)), below);
      }, page.colour);
      return { element, words, text: over(colour, ground), ground };
    });
    return places.reduce((least, place) => (ratio(place.text, place.ground) < ratio(least.text, least.ground) ? place : least));
  }

  return {
    // Pieces of text with less contrast than `least`, one for each selector and pair of colours.
    contrast(least) {
      const found = new Map();
      for (const { element, words, text, ground } of texts()) {
        const measured = ratio(text, ground);
        if (measured >= least) continue;
        const where = selector(element), name = [where, hex(text), hex(ground)].join();
        if (found.has(name)) found.get(name).times += 1;
        else found.set(name, { where, text: excerpt(words), ratio: measured, colour: hex(text), ground: hex(ground), times: 1 });
      }
      return [...found.values()];
    },

    // By how many pixels the page is wider than the window, and the elements that stand out.
    sideways() {
      const room = document.documentElement.clientWidth, excess = document.documentElement.scrollWidth - room;
      if (excess <= 0) return null;
      const inBox = (element) => { for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) if (getComputedStyle(at).overflowX !== "visible") return true; return false; };
      const wide = [...document.body.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > room + 1 && isSeen(one) && !inBox(one));
      const innermost = wide.filter((one) => !wide.some((other) => other !== one && one.contains(other)));
      return { excess, elements: innermost.slice(0, 3).map((one) => selector(one) + " '" + excerpt(one.textContent) + "'") };
    },

    // Characters of an icon font, which the book does not bring: a reader sees an empty box.
    icons() {
      return [...document.body.querySelectorAll("*")].filter(isSeen).flatMap((one) => ["::before", "::after"]
        .map((side) => ({ where: selector(one) + side, style: getComputedStyle(one, side) }))
        .filter(({ style }) => /[\ue000-\uf8ff]/.test(style.content) && style.display !== "none")
        .map(({ where, style }) => where + " '" + style.content.codePointAt(1).toString(16) + "' in " + excerpt(style.fontFamily)));
    },

    // Every picture that is seen and not marked as decoration, with the words that stand for it.
    pictures() {
      return [...document.querySelectorAll("img, svg, [role=img], iframe, object, embed")]
        .filter((one) => !one.closest("[aria-hidden=true], [role=presentation], [role=none]") && isSeen(one))
        .filter((one) => !one.parentElement.closest("svg, [role=img]"))
        .map((one) => {
          const named = one.getAttribute("aria-labelledby") || "", title = one.querySelector(":scope > title");
          const words = one.getAttribute("alt") || one.getAttribute("aria-label") || one.getAttribute("title")
            || (title && title.textContent) || named.split(" ").map((id) => (document.getElementById(id) || {}).textContent || "").join(" ");
          return { where: selector(one), words: words.trim(), source: (one.getAttribute("src") || "").slice(0, 80) };
        });
    },
  };
})();
