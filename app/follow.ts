/** Keeps the end of what grows in view, unless the reader has scrolled up to read something. */

/** Pixels from the end that still count as the end: browsers round. */
const NEAR = 24;

export class Follow {
  readonly #log: HTMLElement;
  readonly #content: HTMLElement;
  #following = true;
  #top = 0;

  /** @param log what scrolls @param content what grows in it */
  constructor(log: HTMLElement, content: HTMLElement) {
    this.#log = log;
    this.#content = content;
    log.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = log;
      if (scrollHeight - clientHeight - scrollTop <= NEAR) this.#following = true;
      else if (scrollTop < this.#top) this.#following = false;
      this.#top = scrollTop;
    });
    // Text, a keyboard that opens, a window that is turned: whatever changes a size.
    const watch = new ResizeObserver(() => this.update());
    watch.observe(content);
    watch.observe(log);
  }

  toEnd(): void {
    this.#following = true;
    this.update();
  }

  update(): void {
    // What stands there before anything has grown is read from its beginning.
    if (this.#following && this.#content.childElementCount > 0) this.#log.scrollTop = this.#log.scrollHeight;
  }
}
