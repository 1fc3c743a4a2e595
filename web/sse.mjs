// text/event-stream, parsed as it comes (HTML Living Standard §9.2.6): split anywhere, lines ended by LF, CR or CRLF.

/** Takes decoded text piece by piece and gives back the events that each piece completes. */
export class EventParser {
  #line = '';
  #afterCr = false;
  #data = [];
  #event = '';
  #id = '';

  /**
   * @param {string} text  the next piece, without a byte order mark (TextDecoder drops it)
   * @returns {{event: string, data: string, id: string}[]}
   */
  push(text) {
    if (text === '') return [];
    const events = [];
    // a CR ends its line at once, so that no event waits for the byte after it; the LF of a CRLF may come later
    let from = this.#afterCr && text[0] === '\n' ? 1 : 0;
    const lineEnd = /\r\n|\n|\r/g;
    lineEnd.lastIndex = from;
    for (let end; (end = lineEnd.exec(text)); from = lineEnd.lastIndex) {
      this.#take(this.#line + text.slice(from, end.index), events);
      this.#line = '';
    }
    this.#line += text.slice(from);
    this.#afterCr = text.endsWith('\r');
    return events;
  }

  #take(line, events) {
    if (line === '') {
      if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
      this.#data = [];
      this.#event = '';
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment: the gateway's heartbeat
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }
}
