#include "app/commands.hpp"

int main(int argc, char** argv) {
  return qsweep::app::run(argc, argv);
}
