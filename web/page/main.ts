import "../sdk/index.ts";export {};
