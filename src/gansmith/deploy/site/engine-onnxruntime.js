// Computes a generator's image with onnxruntime-web: the same interface as engine.js, but pixels() returns a promise.
//
// Both files of the runtime are compared with the SHA-384 in model.json before they run, wherever they come from.

export const FILES = ["model.onnx"];

export class Generator {
  constructor(program, ort, session) {
    this.program = program;
    this.ort = ort;
    this.session = session;
    this.last = Promise.resolve(); // a session computes one image at a time
  }

  // program: model.json; model: the content of model.onnx.
  static async load(program, model) {
    const { runtime } = program, script = await fetchChecked(runtime.script, runtime.integrity.script);
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.wasm.numThreads = 1; // threads need headers that static hosts do not send
    ort.env.wasm.wasmBinary = await fetchChecked(runtime.kernel, runtime.integrity.kernel);
    const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
    return new Generator(program, ort, session);
  }

  // A promise of the image of a latent, as bytes [height width channels].
  pixels(z, label = 0, truncation = 1) {
    const given = Float32Array.from(z);
    return (this.last = this.last.then(() => this.compute(given, label, truncation)));
  }

  async compute(z, label, truncation) {
    const { Tensor } = this.ort;
    const feeds = {
      z: new Tensor("float32", z, [1, z.length]),
      truncation: new Tensor("float32", Float32Array.of(truncation), [1]),
    };
    if (this.program.model.classes.length) feeds.labels = new Tensor("int64", BigInt64Array.of(BigInt(label)), [1]);
    const { images } = await this.session.run(feeds);
    return images.data;
  }
}

async function fetchChecked(url, integrity) {
  const answer = await fetch(url, { integrity }).catch(() => {
    throw new Error(`${url}: cannot be loaded, or is not the version that this page was made for`);
  });
  if (!answer.ok) throw new Error(`${url}: the server answers ${answer.status}; upload the whole folder`);
  return answer.arrayBuffer();
}
