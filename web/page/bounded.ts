/**
 * No more than so many characters, counted as the server does. `maxlength` counts an emoji as two or more, and cuts off what is
 * pasted without a word; here it is said how much is too much, and the form waits.
 */
export function bounded(input: HTMLInputElement, most: number): void {
  const look = () => {
    const over = [...input.value.trim()].length - most;
    input.setCustomValidity(over > 0 ? `${most} characters at most: this is ${over} too long.` : "");
  };
  input.addEventListener("input", look);
  look();
}
