package jet_test
import ("testing";"time";"fmt";"outlook-connector/internal/jet";"github.com/nats-io/nats.go/jetstream")
func TestDbg(t *testing.T){
 w:=newWorld(t)
 c:=w.connect(func(o *jet.Options){o.AckWait=0})
 closeConn(t,c)
 w.stop()
 w.start()
 js := must(jetstream.New(w.raw()))
 info:=must(js.Consumer(t.Context(),"OUTLOOK_FEEDS","poll")).CachedInfo()
 cfg:=info.Config
 fmt.Printf("%+v\n",cfg)
 cfg.AckWait=700*time.Millisecond
 cc,err:=js.UpdateConsumer(t.Context(),"OUTLOOK_FEEDS",cfg)
 fmt.Println(err, cc.CachedInfo().Config.AckWait)
 cfg.AckWait=2*time.Second
 cc,err=js.UpdateConsumer(t.Context(),"OUTLOOK_FEEDS",cfg)
 fmt.Println(err, cc.CachedInfo().Config.AckWait)
 fmt.Println(must(js.Consumer(t.Context(),"OUTLOOK_FEEDS","poll")).CachedInfo().Config.AckWait)
}
