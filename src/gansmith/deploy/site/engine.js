// Computes a generator's image from its program (model.json) and its weights (model.bin).
//
// A program is a list of steps on numbered values, in the order of computation, for one image. Convolutions and dense
// layers run in kernel.wasm; all else are loops here. Values are float32 and lie in the memory of the kernel.

const BLOCK = 4; // output channels of a block of weights in kernel.wasm
const PATCH = 8; // pixels that it computes at once
const PAGE = 65536;

const size = (shape) => shape.reduce((a, b) => a * b, 1);

const UNARY = {
  relu: () => (x) => (x > 0 ? x : 0),
  leaky_relu: ({ alpha }) => (x) => (x > 0 ? x : alpha * x),
  elu: ({ alpha }) => (x) => (x > 0 ? x : alpha * Math.expm1(x)),
  gelu: () => (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  erf: () => erf,
  sigmoid: () => (x) => 1 / (1 + Math.exp(-x)),
  tanh: () => Math.tanh,
};

const BINARY = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

// The error function to 2e-7 (Abramowitz and Stegun 1964, formula 7.1.26, refined by its series near zero).
function erf(x) {
  const a = Math.abs(x);
  if (a < 1) {
    let term = x, sum = x;
    for (let n = 1; n < 16; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  if (a > 5) return Math.sign(x);
  let fraction = 0; // continued fraction of erfc
  for (let n = 60; n > 0; n--) fraction = (n / 2) / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

// Half-precision bits as a number.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * 2 ** (exponent - 25) * (1024 + fraction);
}

// The weights of a tensor as float32.
function decode(tensor, buffer) {
  const count = size(tensor.shape);
  if (tensor.type === "float32") return new Float32Array(buffer, tensor.offset, count);
  if (tensor.type === "float16") return Float32Array.from(new Uint16Array(buffer, tensor.offset, count), half);
  const stored = new Int8Array(buffer, tensor.offset, count), per = count / tensor.shape[0];
  const scales = new Float32Array(buffer, tensor.scales, tensor.shape[0]);
  return Float32Array.from(stored, (value, i) => value * scales[Math.floor(i / per)]);
}

// Weights [outputs depth] of each group as blocks of output channels, [depth][BLOCK].
function packBlocks(weight, outputs, depth, groups) {
  const outs = outputs / groups, blocks = Math.ceil(outs / BLOCK);
  const packed = new Float32Array(groups * blocks * depth * BLOCK);
  for (let d = 0; d < outputs; d++) {
    const group = Math.floor(d / outs), row = d % outs;
    const start = (group * blocks + Math.floor(row / BLOCK)) * depth * BLOCK + (row % BLOCK);
    for (let k = 0; k < depth; k++) packed[start + k * BLOCK] = weight[d * depth + k];
  }
  return packed;
}

export const FILES = ["model.bin", "kernel.wasm"];

export class Generator {
  // program: model.json; buffer: model.bin; kernel: the exports of kernel.wasm.
  constructor(program, buffer, kernel) {
    this.program = program;
    this.kernel = kernel;
    this.top = kernel.__heap_base.value;
    this.values = program.shapes.map((shape) => ({ shape }));
    const constants = program.constants.map((tensor) => ({ ...tensor, data: decode(tensor, buffer) }));
    for (const [id, index] of program.bound) this.place(id, constants[index].data);
    this.patches = this.reserve(PATCH * Math.max(4, ...program.steps.map((step) => step.depth ?? 0)));
    this.plan(constants);
    this.view = null;
    this.actions = program.steps.map((step) => this.prepare(step, constants));
  }

  static async load(program, buffer, kernelBytes) {
    const { instance } = await WebAssembly.instantiate(kernelBytes, {});
    return new Generator(program, buffer, instance.exports);
  }

  // Reserves memory for floats; their address in bytes.
  reserve(count) {
    const address = this.top;
    this.top = (address + 4 * count + 15) & ~15;
    const missing = this.top - this.kernel.memory.buffer.byteLength;
    if (missing > 0) this.kernel.memory.grow(Math.ceil(missing / PAGE));
    return address;
  }

  place(id, data) {
    this.values[id].address = this.reserve(data.length);
    new Float32Array(this.kernel.memory.buffer, this.values[id].address, data.length).set(data);
  }

  // Gives each value its memory: that of values which are not needed any more is used again.
  plan(constants) {
    const steps = this.program.steps, last = new Map(), root = new Map(), free = [];
    const origin = (id) => (root.has(id) ? origin(root.get(id)) : id);
    for (const step of steps) if (step.op === "view") root.set(step.out, step.in[0]);
    steps.forEach((step, i) => step.in.forEach((id) => last.set(origin(id), i)));
    last.set(origin(this.program.output), steps.length);
    for (const id of [this.program.z, this.program.truncation]) this.values[id].address = this.reserve(size(this.values[id].shape));
    const kept = new Set([this.program.z, this.program.truncation, ...this.program.bound.map(([id]) => id)]);
    steps.forEach((step, i) => {
      if (step.op === "view") return;
      const count = size(this.values[step.out].shape);
      const found = free.findIndex((block) => block.count >= count && block.count <= 4 * count);
      const block = found < 0 ? { count, address: this.reserve(count) } : free.splice(found, 1)[0];
      this.values[step.out].address = block.address;
      this.values[step.out].block = block;
      for (const id of new Set(step.in.map(origin))) {
        if (last.get(id) === i && !kept.has(id) && this.values[id].block) free.push(this.values[id].block);
      }
    });
    for (const [id] of root) this.values[id].address = this.values[origin(id)].address;
    for (const step of steps) {
      for (const part of ["weight", "bias"]) {
        if (step[part] == null || step.op === "contract") continue;
        let data = constants[step[part]].data;
        if (part === "weight" && step.op === "conv") data = packBlocks(data, this.values[step.out].shape[1], step.depth, step.groups);
        step[`${part}At`] = this.reserve(data.length);
        new Float32Array(this.kernel.memory.buffer, step[`${part}At`], data.length).set(data);
      }
    }
  }

  array(id) {
    const { shape, address } = this.values[id];
    return new Float32Array(this.kernel.memory.buffer, address, size(shape));
  }

  // A function that carries out a step; memory does not grow after this.
  prepare(step, constants) {
    if (step.op === "view") return () => {};
    const out = this.values[step.out], ins = step.in.map((id) => this.values[id]);
    const kernel = this.kernel;
    if (step.op === "conv") {
      const [, channels, height, width] = ins[0].shape, [, outputs, rows, columns] = out.shape;
      const [k, l] = step.kernel, [top, left] = step.pads;
      return () => kernel.convolve(
        ins[0].address, step.weightAt, step.biasAt ?? 0, out.address, this.patches, channels, height, width,
        outputs, rows, columns, k, l, step.stride, top, left, step.groups,
      );
    }
    if (step.op === "dense") {
      return () => kernel.multiply(ins[0].address, step.weightAt, step.biasAt ?? 0, out.address, step.inputs, step.outputs);
    }
    const to = this.array(step.out), from = step.in.map((id) => this.array(id));
    if (step.op in UNARY) {
      const apply = UNARY[step.op](step), [x] = from;
      return () => { for (let i = 0; i < x.length; i++) to[i] = apply(x[i]); };
    }
    if (step.op in BINARY) return combine(BINARY[step.op], from, ins.map((each) => each.shape), to, out.shape);
    if (step.op === "gather") {
      const table = constants[step.table], row = size(table.shape) / table.shape[0];
      return (label) => to.set(table.data.subarray(label * row, (label + 1) * row));
    }
    if (step.op === "concat") {
      return () => { let at = 0; for (const x of from) { to.set(x, at); at += x.length; } };
    }
    if (step.op === "affine") return affine(from[0], to, out.shape, constants[step.scale].data, constants[step.shift].data);
    if (step.op === "instance_norm") return normalize(from[0], to, out.shape, constants[step.scale].data, constants[step.shift].data, step.epsilon);
    if (step.op === "pick") return pick(from[0], to, out.shape, step.strides, step.start);
    if (step.op === "mean") {
      const per = from[0].length / to.length;
      return () => {
        for (let i = 0; i < to.length; i++) {
          let sum = 0;
          for (let j = i * per; j < (i + 1) * per; j++) sum += from[0][j];
          to[i] = sum / per;
        }
      };
    }
    if (step.op === "contract") return contract(from[0], to, ins[0].shape, out.shape, constants[step.weight].data, step.axis);
    if (step.op === "upsample") return upsample(from[0], to, ins[0].shape, step.factors);
    if (step.op === "depth_to_space") return shuffle(from[0], to, out.shape, step.block);
    throw new Error(`model.json: step ${step.op} is unknown to this page; export it again`);
  }

  // The image of a latent: float32 [channels height width] in the network's range.
  run(z, label = 0, truncation = 1) {
    this.array(this.program.z).set(z);
    this.array(this.program.truncation)[0] = truncation;
    for (const action of this.actions) action(label);
    return this.array(this.program.output);
  }

  // The same as bytes [height width channels].
  pixels(z, label = 0, truncation = 1) {
    const image = this.run(z, label, truncation);
    const { channels, height, width } = this.program.model.image_size, [low, high] = this.program.model.value_range;
    const bytes = new Uint8Array(image.length), area = height * width, scale = 255 / (high - low);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < area; i++) {
        bytes[i * channels + c] = Math.min(255, Math.max(0, Math.round((image[c * area + i] - low) * scale)));
      }
    }
    return bytes;
  }
}

// to = a operation b, with broadcasting.
function combine(operation, [a, b], shapes, to, shape) {
  if (a.length === to.length && b.length === to.length) {
    return () => { for (let i = 0; i < to.length; i++) to[i] = operation(a[i], b[i]); };
  }
  const indices = shapes.map((from) => spread(from, shape));
  return () => { for (let i = 0; i < to.length; i++) to[i] = operation(a[indices[0][i]], b[indices[1][i]]); };
}

// For each element of a shape, the index of the element of a smaller shape that is repeated there.
function spread(from, shape) {
  const full = [...new Array(shape.length - from.length).fill(1), ...from];
  const strides = full.map((side, axis) => (side === 1 ? 0 : size(full.slice(axis + 1))));
  return indexAll(shape, strides, 0);
}

function indexAll(shape, strides, start) {
  const found = new Int32Array(size(shape)), place = new Array(shape.length).fill(0);
  for (let i = 0, at = start; i < found.length; i++) {
    found[i] = at;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++place[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      place[axis] = 0;
    }
  }
  return found;
}

// Transposes and slices: elements at regular strides.
function pick(x, to, shape, strides, start) {
  const indices = indexAll(shape, strides, start);
  return () => { for (let i = 0; i < to.length; i++) to[i] = x[indices[i]]; };
}

function affine(x, to, shape, scale, shift) {
  const per = size(shape.slice(2));
  return () => {
    for (let c = 0, i = 0; c < shape[1]; c++) {
      const factor = scale[c], offset = shift[c];
      for (const end = i + per; i < end; i++) to[i] = x[i] * factor + offset;
    }
  };
}

function normalize(x, to, shape, scale, shift, epsilon) {
  const per = size(shape.slice(2));
  return () => {
    for (let c = 0; c < shape[1]; c++) {
      const first = c * per;
      let sum = 0, squares = 0;
      for (let i = first; i < first + per; i++) sum += x[i];
      const mean = sum / per;
      for (let i = first; i < first + per; i++) squares += (x[i] - mean) ** 2;
      const factor = scale[c] / Math.sqrt(squares / per + epsilon);
      for (let i = first; i < first + per; i++) to[i] = (x[i] - mean) * factor + shift[c];
    }
  };
}

// Products of a matrix [after before] with the rows (axis 2) or the columns (axis 3) of each channel.
function contract(x, to, [, channels, height, width], shape, matrix, axis) {
  const before = axis === 2 ? height : width, [, , rows, columns] = shape, step = axis === 2 ? width : 1;
  return () => {
    for (let c = 0, i = 0; c < channels; c++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const after = axis === 2 ? row : column, first = axis === 2 ? column : row * width;
          let sum = 0;
          for (let k = 0; k < before; k++) sum += matrix[after * before + k] * x[c * height * width + first + k * step];
          to[i++] = sum;
        }
      }
    }
  };
}

function upsample(x, to, [, channels, height, width], [down, across]) {
  return () => {
    let i = 0;
    for (let c = 0; c < channels; c++) {
      for (let row = 0; row < height * down; row++) {
        const first = (c * height + Math.floor(row / down)) * width;
        for (let column = 0; column < width; column++) {
          for (let k = 0; k < across; k++) to[i++] = x[first + column];
        }
      }
    }
  };
}

// Channels c * block^2 + r * block + s become pixels (r, s) of each block of channel c.
function shuffle(x, to, [, channels, height, width], block) {
  const rows = height / block, columns = width / block, area = rows * columns;
  return () => {
    for (let c = 0, i = 0; c < channels; c++) {
      for (let row = 0; row < height; row++) {
        const first = (c * block + (row % block)) * block;
        const line = Math.floor(row / block) * columns;
        for (let column = 0; column < columns; column++) {
          for (let s = 0; s < block; s++) to[i++] = x[(first + s) * area + line + column];
        }
      }
    }
  };
}
