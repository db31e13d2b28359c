// The store, inside a component.

export * from "palisade:plugin/store@0.1.0";
