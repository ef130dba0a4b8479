// What a Tokenizer holds: the stages of tokenizer.json in the order in which encode() runs them.
#pragma once

#include "model/tokenizer/added_tokens.hpp"
#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/decoder.hpp"
#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/post_processor.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace qsweep::model {

struct Tokenizer::Pipeline {
  tok::AddedTokens added;
  tok::Normalizer normalizer;
  tok::PreTokenizer pre_tokenizer;
  tok::Bpe bpe;
  tok::PostProcessor post_processor;
  tok::Decoder decoder;
  tok::Vocabulary vocabulary;  // the model's tokens and the added ones
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
  std::string fingerprint;
};

}  // namespace qsweep::model
