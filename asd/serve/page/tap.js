// Hands the samples of the microphone on, as they come; runs beside the page.
"use strict";

class Tap extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}
registerProcessor("tap", Tap);
