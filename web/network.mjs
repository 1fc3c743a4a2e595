// The page's way to the gateway, with a switch in it.

/** While it is cut, open requests break off and new ones fail, as in a lift. */
export class Network {
  #cut = null;
  #breaker = new AbortController();

  /** As the global fetch. */
  fetch = async (url, init = {}) => {
    if (this.#cut) throw this.#cut;
    const signals = [this.#breaker.signal, init.signal].filter(Boolean);
    return fetch(url, { ...init, signal: AbortSignal.any(signals) });
  };

  get isCut() {
    return this.#cut !== null;
  }

  cut() {
    this.#cut = new TypeError('The network is cut.');
    this.#breaker.abort(this.#cut);
  }

  /** Says so as a browser does that is online again. */
  mend() {
    this.#cut = null;
    this.#breaker = new AbortController();
    dispatchEvent(new Event('online'));
  }
}
