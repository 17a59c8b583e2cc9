"""The model that writes new rationales: prompts, requests, stored answers, prices and costs."""
