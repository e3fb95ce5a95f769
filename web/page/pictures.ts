/** Pictures that somebody wants to send: as they are when they fit, smaller when they don't. */

const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/** Widest or highest, in pixels: what a picture is reduced to at first. */
const SIDES = [1600, 1200, 900, 640, 400];
const QUALITIES = [0.85, 0.7, 0.5];

/** The first picture among what was pasted, dropped or chosen. */
export function pictureIn(files: Iterable<File> | null | undefined): File | undefined {
  return [...(files ?? [])].find((file) => file.type.startsWith("image/"));
}

/** A data URL of at most `max` bytes of picture. Rejects, in words for a person, when there is no such thing. */
export async function toSend(file: File, max: number): Promise<string> {
  if (TYPES.includes(file.type) && file.size <= max) return dataUrl(file);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("That is no picture that can be shown here: png, jpeg, gif and webp can.");
  }
  const canvas = document.createElement("canvas");
  for (const side of SIDES) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    [canvas.width, canvas.height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
    canvas.getContext("2d")!.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/webp", quality));
      // A browser that can't write webp writes png.
      if (blob && TYPES.includes(blob.type) && blob.size <= max) return dataUrl(blob);
    }
  }
  throw new Error("That picture is too large, even when it is made smaller.");
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error("That file can’t be read."));
    reader.readAsDataURL(blob);
  });
}
