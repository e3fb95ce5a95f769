/** Width and height from the first bytes of a picture, so that it is known before it is decoded what that takes: place, and memory. */

export interface Size { width: number; height: number }

/** Four bytes of memory each, once it is decoded: a few kilobytes may hold far more than a page can. */
const PIXELS_MAX = 40_000_000;
/** A jpeg says its size behind its preview and profile, which may take a while; most of them soon. */
const HEADS = [128 * 1024, Infinity];

/** Of a data URL of a png, gif, webp or jpeg; nothing when it does not say, or is larger than can be shown. */
export function pictureSize(url: string): Size | undefined {
  const base64 = url.slice(url.indexOf(",") + 1);
  for (const length of HEADS) {
    const size = sizeIn(base64.slice(0, length));
    if (size) return size.width > 0 && size.height > 0 && size.width * size.height <= PIXELS_MAX ? size : undefined;
  }
  return undefined;
}

function sizeIn(base64: string): Size | undefined {
  try {
    const bytes = Uint8Array.from(atob(base64.slice(0, base64.length - (base64.length % 4))), (char) => char.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return png(view) ?? gif(view) ?? webp(view) ?? jpeg(view);
  } catch {
    return undefined;
  }
}

function png(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x89504e47) return undefined;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

function gif(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x47494638) return undefined;
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

function webp(view: DataView): Size | undefined {
  if (view.getUint32(0) !== 0x52494646 || view.getUint32(8) !== 0x57454250) return undefined;
  const kind = view.getUint32(12);
  const u24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  if (kind === 0x56503858) return { width: u24(24) + 1, height: u24(27) + 1 };
  if (kind === 0x5650384c) {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function jpeg(view: DataView): Size | undefined {
  if (view.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; ;) {
    const marker = view.getUint16(at);
    // Start of a frame, of any coding; C4, C8 and CC are something else.
    if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    at += 2 + view.getUint16(at + 2);
  }
}
