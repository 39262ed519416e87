// The position of the filter: play, pause, step and drag. Independent of the page's elements.

// Seconds from the first word to the last, and the lowest and highest number of words per second.
const SECONDS = 10;
const SLOWEST = 2.5;
const FASTEST = 45;

export class Slide {
  place = 0; // can be between two positions while it plays
  first = 0;
  last = 0;
  rate = 0; // positions per second while it plays
  #frame = 0; // the next frame of the animation, or 0

  /** Calls `moved(place)` at every move, and `changed(playing)` at every start and stop. */
  constructor(moved, changed) {
    this.moved = moved;
    this.changed = changed;
  }

  get playing() {
    return this.#frame !== 0;
  }

  /** Set the positions to 0 … `last`. Playing starts at `first`, where the words begin. */
  reset(last, first, place) {
    this.last = last;
    this.first = Math.min(first, last);
    this.seek(place);
  }

  /** Play from a place, or from the first one if that is the last or before the words. */
  play(place) {
    this.#move(place >= this.last || place < this.first ? this.first : place);
    this.changed(true);
    this.rate = Math.max(SLOWEST, Math.min(FASTEST, (this.last - this.first) / SECONDS));
    let before;
    const tick = (now) => {
      const passed = Math.min(0.1, (now - (before ?? now)) / 1000);
      before = now;
      this.#move(this.place + passed * this.rate);
      if (this.place >= this.last) this.pause();
      else this.#frame = requestAnimationFrame(tick);
    };
    this.#frame = requestAnimationFrame(tick);
  }

  pause() {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.changed(false);
    this.#move(Math.round(this.place));
  }

  /** Pause, and go to a position. */
  seek(place) {
    this.pause();
    this.#move(place);
  }

  #move(place) {
    this.place = Math.max(0, Math.min(this.last, place));
    this.moved(this.place);
  }
}
