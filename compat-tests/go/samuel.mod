module rookeeper/compat-tests/go

go 1.18

require github.com/samuel/go-zookeeper v0.0.0-20190923202752-2cc03de413da
