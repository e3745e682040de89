// The microphone as a WAV file, which the service reads without further programs.
"use strict";

const microphone = (() => {
  const possible = () => Boolean(navigator.mediaDevices && window.AudioWorkletNode);

  // Begins to record; the answer's `stop` ends it and returns the file, its `seconds` tells how much there is.
  async function start() {
    // What a telephone does to make a voice clearer would change the sound of a machine.
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const context = new AudioContext(), blocks = [];
    let count = 0;
    try {
      await context.audioWorklet.addModule("tap.js");
      const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
      tap.port.onmessage = (event) => { blocks.push(event.data); count += event.data.length; };
      context.createMediaStreamSource(stream).connect(tap);
    } catch (error) {
      await close();
      throw error;
    }
    async function close() {
      stream.getTracks().forEach((track) => track.stop());
      await context.close();
    }
    return {
      seconds: () => count / context.sampleRate,
      async stop() {
        const rate = context.sampleRate;
        await close();
        return wav(blocks, count, rate);
      },
    };
  }

  // 16 bits, one channel.
  function wav(blocks, count, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * count));
    const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
    view.setUint16(32, 2, true); view.setUint16(34, 16, true);
    text(36, "data"); view.setUint32(40, 2 * count, true);
    let at = 44;
    for (const block of blocks) {
      for (const value of block) {
        view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true);
        at += 2;
      }
    }
    return new Blob([view], { type: "audio/wav" });
  }

  return { possible, start };
})();
