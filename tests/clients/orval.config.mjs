export default {
  shop: {
    input: { target: "./openapi.json" },
    output: {
      target: "./generated/orval/shop.ts",
      client: "fetch",
      mode: "single",
      baseUrl: { getBaseUrlFromSpecification: true },
    },
  },
};
