// Network: the clients, and what lies between them and the host: packets are lost, doubled, delayed, overtaken,
// damaged.
#pragma once

#include <vector>

#include "sim/relay/lab.h"

namespace us::sim::relay {

class Network {
 public:
  explicit Network(Lab& lab);

  void start();
  // A frame of the host that may speak; the judge has seen it.
  void to_clients(const Packet& packet);
  void cut(Duration length) { cut_until_ = std::max(cut_until_, lab_.now() + length); }
  void spoil(Duration length) { bad_until_ = std::max(bad_until_, lab_.now() + length); }
  void calm();

  const TcpEnd& client(size_t i) const { return clients_[i]; }
  const Bytes& received(size_t i) const { return received_[i]; }

 private:
  bool lost();
  Duration travel();
  void at_client(const Packet& packet);
  void run_client(size_t i);
  void after_client(size_t i);
  void send(const Packet& packet);
  void send_frame(EthernetFrame frame);

  Lab& lab_;
  LinkQuality quality_;
  std::vector<TcpEnd> clients_;
  std::vector<Bytes> received_;
  std::vector<Instant> armed_;
  Instant cut_until_, bad_until_;
};

}  // namespace us::sim::relay
