// What differs between two sentences, word by word.

const WORDS = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*|[^\s\p{L}\p{N}]+|\s+/gu;

/** `text` in pieces, each with whether it is new against `before`: [{text, isNew}]. */
export function changed(before, text) {
  const old = pieces(before).filter((piece) => piece.trim());
  const all = pieces(text);
  const now = all.filter((piece) => piece.trim());
  const kept = common(old, now);
  let place = -1;
  const marked = all.map((piece) => {
    if (!piece.trim()) return { text: piece, isNew: false };
    place += 1;
    return { text: piece, isNew: !kept.has(place) };
  });
  return joined(marked);
}

/** How many words of `text` are new. */
export function numChanged(before, text) {
  return changed(before, text)
    .filter((piece) => piece.isNew)
    .reduce((sum, piece) => sum + piece.text.split(/\s+/).length, 0);
}

function pieces(text) {
  return text.match(WORDS) ?? [];
}

/** Places in `now` that belong to a longest common subsequence with `old`; case does not count. */
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
  const kept = new Set();
  for (let row = 0, column = 0; row < rows && column < columns;) {
    if (isSame(row, column)) {
      kept.add(column);
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
    const isBetween = !piece.text.trim() && marked[index - 1]?.isNew && marked[index + 1]?.isNew;
    const isNew = piece.isNew || Boolean(isBetween);
    if (out.length && out.at(-1).isNew === isNew) out.at(-1).text += piece.text;
    else out.push({ text: piece.text, isNew });
  }
  return out;
}
