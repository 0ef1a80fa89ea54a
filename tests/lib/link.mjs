// link.mjs - the way from a node to PostgreSQL, as something that can break: TCP in front of the server's Unix socket.

import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { defer } from './defer.mjs';

export class Link {
  /** target: for net.connect; host: where to listen. */
  static async open(t, target, host = '127.0.0.1') {
    const link = new Link(target);
    await new Promise((resolve, reject) => link.server.once('error', reject).listen(0, host, resolve));
    Object.assign(link, { host, port: link.server.address().port });
    defer(t, () => link.close());
    return link;
  }

  constructor(target) {
    this.target = target;
    this.pairs = new Set();
    this.state = 'open'; // cut: whoever connects is reset; frozen: connections are taken, and nothing passes
    this.delay_ms = 0; // of each piece, in each direction
    this.n_opened = 0;
    this.server = net.createServer({ allowHalfOpen: true }, (node) => this.#take(node));
  }

  #take(node) {
    if (this.state === 'cut') return node.resetAndDestroy();
    const far = net.connect({ ...this.target, allowHalfOpen: true });
    const pair = { node, far };
    this.n_opened++;
    this.pairs.add(pair);
    for (const [from, to] of [
      [node, far],
      [far, node],
    ]) {
      from.on('data', (piece) => this.#pass(pair, from, to, piece));
      from.on('end', () => !pair.isHalf && to.end());
      from.on('error', () => {});
      from.on('close', () => {
        if (this.state === 'frozen' || pair.isHalf) return; // the other side is not told
        to.destroy();
        this.pairs.delete(pair);
      });
    }
    if (this.state === 'frozen') this.#hold(pair, true);
  }

  async #pass(pair, from, to, piece) {
    if (this.delay_ms > 0) {
      from.pause();
      await pause(this.delay_ms);
      if (this.state !== 'frozen') from.resume();
    }
    if (!to.writable) return;
    if (!to.write(piece)) {
      from.pause();
      to.once('drain', () => this.state !== 'frozen' && from.resume());
    }
  }

  #hold(pair, isHeld) {
    for (const socket of [pair.node, pair.far])
      if (isHeld) socket.pause();
      else socket.resume();
  }

  /** Resets every connection on both sides, and whoever connects. */
  cut() {
    this.state = 'cut';
    this.reset();
  }

  /** Resets every connection on both sides; new ones may be made. */
  reset() {
    for (const { node, far } of this.pairs) {
      node.resetAndDestroy();
      far.destroy();
    }
    this.pairs.clear();
  }

  /** Nothing passes any more, and neither side is told: a cable that was pulled. */
  freeze() {
    this.state = 'frozen';
    for (const pair of this.pairs) this.#hold(pair, true);
  }

  /** Ends what goes to the node; what it sends still arrives at the server. */
  halfClose() {
    for (const pair of this.pairs) {
      pair.isHalf = true;
      pair.node.end();
    }
  }

  /** As at first. What was on its way in frozen connections arrives now, late, unless `drops` them. */
  mend({ drops = false } = {}) {
    const wasFrozen = this.state === 'frozen';
    this.state = 'open';
    for (const pair of wasFrozen ? this.pairs : []) {
      const isOver = pair.node.destroyed || pair.far.destroyed;
      if (drops || isOver) {
        pair.node.destroy();
        pair.far.destroy();
        this.pairs.delete(pair);
      } else {
        this.#hold(pair, false);
      }
    }
  }

  close() {
    this.reset();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
