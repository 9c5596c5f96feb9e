/** Text that comes in pieces onto a terminal, broken between words instead of at its edge. */

/** Two columns wide on a terminal: East Asian scripts and signs, and pictures. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
/** Takes no column. */
const NARROW = /[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;

export class WordWrap {
  readonly #write: (text: string) => void;
  readonly #columns: () => number;
  /** Of the line that is being written. */
  #column = 0;
  /** A word whose end has not come yet: where it goes is not known. */
  #word = "";
  /** Blanks before it, which a new line does not begin with. */
  #blanks = "";

  /** @param columns of the terminal now; it may change */
  constructor(write: (text: string) => void, columns: () => number) {
    this.#write = write;
    this.#columns = columns;
  }

  add(text: string): void {
    for (const character of text) {
      if (character === "\n") {
        this.flush();
        this.#write("\n");
        this.#column = 0;
      } else if (character === " " || character === "\t") {
        if (this.#word !== "") this.#putWord();
        this.#blanks += character;
      } else if (WIDE.test(character)) {
        // These scripts break anywhere.
        this.#word += character;
        this.#putWord();
      } else this.#word += character;
    }
  }

  /** Writes what is held back. */
  flush(): void {
    if (this.#word !== "") this.#putWord();
    this.#blanks = "";
  }

  #putWord(): void {
    const width = widthOf(this.#word);
    const blank = widthOf(this.#blanks);
    const columns = Math.max(1, this.#columns());
    if (this.#column > 0 && this.#column + blank + width > columns) {
      this.#write("\n");
      this.#column = 0;
    } else {
      this.#write(this.#blanks);
      this.#column += blank;
    }
    this.#write(this.#word);
    this.#column += width;
    // A word that is longer than a line goes on in the next one by itself.
    while (this.#column > columns) this.#column -= columns;
    this.#word = "";
    this.#blanks = "";
  }
}

/** Columns that a text takes; a tab counts as the most that it can take. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (character === "\t") width += 8;
    else if (!NARROW.test(character)) width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}
