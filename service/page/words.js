// What differs between two sentences, word by word.

const WORDS = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*|[^\s\p{L}\p{N}]+|\s+/gu;

/**
 * `text` in pieces, each with whether it is new against `before`: [{text, isNew}]. Where words are gone and none stand in
 * their place, there is a piece without text that names them: {text: "", isNew: false, gone}.
 */
export function changed(before, text) {
  const old = pieces(before).filter((piece) => piece.trim());
  const all = pieces(text);
  const now = all.filter((piece) => piece.trim());
  const kept = common(old, now);
  const gone = gaps(old, now.length, kept);
  const marked = [];
  let place = 0;
  for (const piece of all) {
    const isWord = Boolean(piece.trim());
    if (isWord && gone.has(place)) marked.push({ text: "", isNew: false, gone: gone.get(place) });
    marked.push({ text: piece, isNew: isWord && !kept.has(place) });
    if (isWord) place += 1;
  }
  if (gone.has(place)) marked.push({ text: "", isNew: false, gone: gone.get(place) });
  return joined(marked);
}

/**
 * {added, gone}: how many words of `text` are new, and how many of `before` are gone without others in their place.
 * Punctuation is no word.
 */
export function numChanged(before, text) {
  const count = (words) => words.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
  const all = changed(before, text);
  const sum = (texts) => texts.reduce((total, each) => total + count(each), 0);
  return {
    added: sum(all.filter((piece) => piece.isNew).map((piece) => piece.text)),
    gone: sum(all.map((piece) => piece.gone ?? "")),
  };
}

function pieces(text) {
  return text.match(WORDS) ?? [];
}

/** Words of `old` that nothing stands for, by the place in the new text where they were: {place: "them"}. */
function gaps(old, numNow, kept) {
  const found = new Map();
  const matches = [...kept, [numNow, old.length]];
  let [lastNow, lastOld] = [-1, -1];
  for (const [now, was] of matches) {
    if (now === lastNow + 1 && was > lastOld + 1) found.set(now, old.slice(lastOld + 1, was).join(" "));
    [lastNow, lastOld] = [now, was];
  }
  return found;
}

/** A longest common subsequence, case aside, as places in `now` and the places in `old` that they are, in order. */
function common(old, now) {
  const [rows, columns] = [old.length, now.length];
  const isSame = (row, column) => old[row].toLowerCase() === now[column].toLowerCase();
  const length = Array.from({ length: rows + 1 }, () => new Uint16Array(columns + 1));
  for (let row = rows - 1; row >= 0; row -= 1) {
    for (let column = columns - 1; column >= 0; column -= 1) {
      length[row][column] = isSame(row, column)
        ? length[row + 1][column + 1] + 1
        : Math.max(length[row + 1][column], length[row][column + 1]);
    }
  }
  const kept = new Map();
  for (let row = 0, column = 0; row < rows && column < columns;) {
    if (isSame(row, column)) {
      kept.set(column, row);
      row += 1;
      column += 1;
    } else if (length[row + 1][column] >= length[row][column + 1]) row += 1;
    else column += 1;
  }
  return kept;
}

/** Neighbouring new words, and the space between them, as one piece. */
function joined(marked) {
  const out = [];
  for (const [index, piece] of marked.entries()) {
    if (piece.gone) {
      out.push(piece);
      continue;
    }
    const isBetween = !piece.text.trim() && marked[index - 1]?.isNew && marked[index + 1]?.isNew;
    const isNew = piece.isNew || Boolean(isBetween);
    if (out.length && !out.at(-1).gone && out.at(-1).isNew === isNew) out.at(-1).text += piece.text;
    else out.push({ text: piece.text, isNew });
  }
  return out;
}
