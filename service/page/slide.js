// The position of the filter: play, pause, step and drag. Independent of the page's elements.

// Seconds from the first word to the last, and the lowest and highest number of words per second.
const SECONDS = 10;
const SLOWEST = 2.5;
const FASTEST = 45;

export class Slide {
  #playing = false;
  #before = 0;

  /** Calls `moved(place)` at every move, and `changed(playing)` at every start and stop. */
  constructor(moved, changed) {
    this.place = 0; // can be between two positions while it plays
    this.last = 0;
    this.first = 0;
    this.moved = moved;
    this.changed = changed;
  }

  get playing() {
    return this.#playing;
  }

  /** Set the positions to 0 … `last`. Playing starts at `first`, where the words begin. */
  reset(last, first, place) {
    this.pause();
    this.last = last;
    this.first = Math.min(first, last);
    this.seek(place);
  }

  play() {
    if (this.#playing) return;
    if (this.place >= this.last || this.place < this.first) this.seek(this.first);
    this.#playing = true;
    this.#before = 0;
    this.changed(true);
    requestAnimationFrame((now) => this.#tick(now));
  }

  pause() {
    if (!this.#playing) return;
    this.#playing = false;
    this.changed(false);
    this.seek(Math.round(this.place));
  }

  step(by) {
    this.pause();
    this.seek(Math.round(this.place) + by);
  }

  seek(place) {
    this.place = Math.max(0, Math.min(this.last, place));
    this.moved(this.place);
  }

  #tick(now) {
    if (!this.#playing) return;
    const rate = Math.max(SLOWEST, Math.min(FASTEST, (this.last - this.first) / SECONDS));
    const passed = this.#before ? Math.min(0.1, (now - this.#before) / 1000) : 0;
    this.#before = now;
    this.seek(this.place + passed * rate);
    if (this.place >= this.last) this.pause();
    else requestAnimationFrame((next) => this.#tick(next));
  }
}
