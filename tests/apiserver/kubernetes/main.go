// A Kubernetes API server from the libraries that kube-apiserver is made of: generic server, storage in etcd, watch
// cache, server-side apply, custom resources with their rules and what those may cost. What kube-apiserver adds for its
// built-in kinds is not here: they are stored as they come, without defaults or validation, and every user may do all.
//
// `cargo xtask apiserver` builds it from Debian's packages, which have the libraries and not kube-apiserver.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	extensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	openapicommon "k8s.io/kube-openapi/pkg/common"

	"apiserver/openapi"
)

type kind struct {
	plural     string
	namespaced bool
	object     func() runtime.Object
	list       func() runtime.Object
	hasStatus  bool
}

type group struct {
	version schema.GroupVersion
	kinds   []kind
}

func of[T any, L any, PT interface {
	*T
	runtime.Object
}, PL interface {
	*L
	runtime.Object
}](plural string, namespaced, status bool) kind {
	return kind{plural, namespaced, func() runtime.Object { return PT(new(T)) }, func() runtime.Object { return PL(new(L)) }, status}
}

var groups = []group{
	{corev1.SchemeGroupVersion, []kind{
		of[corev1.Namespace, corev1.NamespaceList]("namespaces", false, true),
		of[corev1.Node, corev1.NodeList]("nodes", false, true),
		of[corev1.Pod, corev1.PodList]("pods", true, true),
		of[corev1.ConfigMap, corev1.ConfigMapList]("configmaps", true, false),
		of[corev1.Secret, corev1.SecretList]("secrets", true, false),
		of[corev1.Service, corev1.ServiceList]("services", true, true),
		of[corev1.ServiceAccount, corev1.ServiceAccountList]("serviceaccounts", true, false),
		of[corev1.Event, corev1.EventList]("events", true, false),
	}},
	{appsv1.SchemeGroupVersion, []kind{
		of[appsv1.DaemonSet, appsv1.DaemonSetList]("daemonsets", true, true),
		of[appsv1.Deployment, appsv1.DeploymentList]("deployments", true, true),
		of[appsv1.ReplicaSet, appsv1.ReplicaSetList]("replicasets", true, true),
		of[appsv1.StatefulSet, appsv1.StatefulSetList]("statefulsets", true, true),
	}},
	{coordinationv1.SchemeGroupVersion, []kind{
		of[coordinationv1.Lease, coordinationv1.LeaseList]("leases", true, false),
	}},
	{rbacv1.SchemeGroupVersion, []kind{
		of[rbacv1.ClusterRole, rbacv1.ClusterRoleList]("clusterroles", false, false),
		of[rbacv1.ClusterRoleBinding, rbacv1.ClusterRoleBindingList]("clusterrolebindings", false, false),
		of[rbacv1.Role, rbacv1.RoleList]("roles", true, false),
		of[rbacv1.RoleBinding, rbacv1.RoleBindingList]("rolebindings", true, false),
	}},
	{networkingv1.SchemeGroupVersion, []kind{
		of[networkingv1.ServiceCIDR, networkingv1.ServiceCIDRList]("servicecidrs", false, true),
	}},
	{networkingv1beta1.SchemeGroupVersion, []kind{
		of[networkingv1.ServiceCIDR, networkingv1.ServiceCIDRList]("servicecidrs", false, true),
	}},
}

var scheme = runtime.NewScheme()

func register() {
	must(clientscheme.AddToScheme(scheme))
	for _, group := range groups {
		if group.version.Version != "v1" {
			continue
		}
		// Version v1 of a kind is what the others are converted to, and what is kept in memory.
		internal := schema.GroupVersion{Group: group.version.Group, Version: runtime.APIVersionInternal}
		for name := range scheme.KnownTypes(group.version) {
			object, err := scheme.New(group.version.WithKind(name))
			must(err)
			if _, ok := object.(metav1.Object); ok || strings.HasSuffix(name, "List") {
				scheme.AddKnownTypes(internal, object)
			}
		}
	}
	for _, group := range groups {
		if group.version.Group != networkingv1.GroupName {
			must(scheme.SetVersionPriority(group.version))
		}
	}
	must(scheme.SetVersionPriority(networkingv1.SchemeGroupVersion, networkingv1beta1.SchemeGroupVersion))
	convert[networkingv1beta1.ServiceCIDR, networkingv1.ServiceCIDR](func(in *networkingv1beta1.ServiceCIDR, out *networkingv1.ServiceCIDR) {
		out.ObjectMeta, out.Spec.CIDRs, out.Status.Conditions = in.ObjectMeta, in.Spec.CIDRs, in.Status.Conditions
	})
	convert[networkingv1.ServiceCIDR, networkingv1beta1.ServiceCIDR](func(in *networkingv1.ServiceCIDR, out *networkingv1beta1.ServiceCIDR) {
		out.ObjectMeta, out.Spec.CIDRs, out.Status.Conditions = in.ObjectMeta, in.Spec.CIDRs, in.Status.Conditions
	})
	convert[networkingv1.ServiceCIDRList, networkingv1beta1.ServiceCIDRList](func(in *networkingv1.ServiceCIDRList, out *networkingv1beta1.ServiceCIDRList) {
		out.ListMeta, out.Items = in.ListMeta, []networkingv1beta1.ServiceCIDR{}
		for _, item := range in.Items {
			out.Items = append(out.Items, networkingv1beta1.ServiceCIDR{ObjectMeta: item.ObjectMeta,
				Spec: networkingv1beta1.ServiceCIDRSpec{CIDRs: item.Spec.CIDRs}, Status: networkingv1beta1.ServiceCIDRStatus{Conditions: item.Status.Conditions}})
		}
	})
	convert[networkingv1beta1.ServiceCIDRList, networkingv1.ServiceCIDRList](func(in *networkingv1beta1.ServiceCIDRList, out *networkingv1.ServiceCIDRList) {
		out.ListMeta = in.ListMeta
	})
	label := func(name, value string) (string, string, error) { return name, value, nil }
	must(scheme.AddFieldLabelConversionFunc(corev1.SchemeGroupVersion.WithKind("Pod"), label))
	must(scheme.AddFieldLabelConversionFunc(corev1.SchemeGroupVersion.WithKind("Event"), label))
}

func convert[From any, To any](how func(*From, *To)) {
	must(scheme.AddConversionFunc((*From)(nil), (*To)(nil), func(from, to interface{}, _ conversion.Scope) error {
		how(from.(*From), to.(*To))
		return nil
	}))
}

// strategy takes what comes.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	namespaced bool
}

func (s strategy) NamespaceScoped() bool { return s.namespaced }
func (s strategy) PrepareForCreate(_ context.Context, object runtime.Object) {
	object.(metav1.Object).SetGeneration(1)
	if namespace, ok := object.(*corev1.Namespace); ok {
		namespace.Status.Phase = corev1.NamespaceActive
	}
}
func (s strategy) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
func (s strategy) Validate(context.Context, runtime.Object) field.ErrorList           { return nil }
func (s strategy) ValidateUpdate(context.Context, runtime.Object, runtime.Object) field.ErrorList {
	return nil
}
func (s strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (s strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
func (s strategy) Canonicalize(runtime.Object)    {}
func (s strategy) AllowCreateOnUpdate() bool      { return s.namespaced }
func (s strategy) AllowUnconditionalUpdate() bool { return true }

// statusREST is the status path of a store.
type statusREST struct{ store *registry.Store }

func (r *statusREST) New() runtime.Object { return r.store.New() }
func (r *statusREST) Destroy()            {}
func (r *statusREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, options)
}
func (r *statusREST) Update(ctx context.Context, name string, object rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.store.Update(ctx, name, object, create, update, false, options)
}

func podAttributes(object runtime.Object) (labels.Set, fields.Set, error) {
	switch object := object.(type) {
	case *corev1.Pod:
		return object.Labels, fields.Set{"metadata.name": object.Name, "metadata.namespace": object.Namespace,
			"spec.nodeName": object.Spec.NodeName, "status.phase": string(object.Status.Phase)}, nil
	case *corev1.Event:
		return object.Labels, fields.Set{"metadata.name": object.Name, "metadata.namespace": object.Namespace,
			"involvedObject.name": object.InvolvedObject.Name, "involvedObject.namespace": object.InvolvedObject.Namespace,
			"involvedObject.kind": object.InvolvedObject.Kind, "involvedObject.uid": string(object.InvolvedObject.UID)}, nil
	}
	return nil, nil, fmt.Errorf("no attributes of %T", object)
}

func store(kind kind, group string, getter generic.RESTOptionsGetter) (*registry.Store, error) {
	resource := schema.GroupResource{Group: group, Resource: kind.plural}
	how := strategy{ObjectTyper: scheme, NameGenerator: names.SimpleNameGenerator, namespaced: kind.namespaced}
	made := &registry.Store{
		NewFunc: kind.object, NewListFunc: kind.list,
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Group: group, Resource: strings.TrimSuffix(kind.plural, "s")},
		CreateStrategy:            how, UpdateStrategy: how, DeleteStrategy: how,
		TableConvertor: rest.NewDefaultTableConvertor(resource),
	}
	settings := &generic.StoreOptions{RESTOptions: getter}
	if kind.plural == "pods" || kind.plural == "events" {
		settings.AttrFunc = podAttributes
		made.PredicateFunc = func(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
			return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: podAttributes}
		}
	}
	return made, made.CompleteWithOptions(settings)
}

func definitions(ref openapicommon.ReferenceCallback) map[string]openapicommon.OpenAPIDefinition {
	all := extensionsopenapi.GetOpenAPIDefinitions(ref)
	for name, definition := range openapi.GetOpenAPIDefinitions(ref) {
		all[name] = definition
	}
	return all
}

func main() {
	port := flag.Int("port", 6443, "where it listens, on 127.0.0.1")
	etcd := flag.String("etcd", "http://127.0.0.1:2379", "where etcd answers")
	tokens := flag.String("tokens", "", "users as token,name,uid,groups")
	certificates := flag.String("certificates", "", "the folder that gets its certificate")
	without := flag.String("without", "", "versions of ServiceCIDR that are not served, with commas")
	flag.Parse()
	register()

	recommended := options.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr).RecommendedOptions
	recommended.Etcd.StorageConfig.Transport.ServerList = []string{*etcd}
	serving := recommended.SecureServing
	serving.BindAddress, serving.BindPort = net.ParseIP("127.0.0.1"), *port
	serving.ServerCert.CertDirectory = *certificates
	must(serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.ParseIP("127.0.0.1")}))

	config := genericapiserver.NewRecommendedConfig(apiextensions.Codecs)
	must(genericoptions.NewServerRunOptions().Complete())
	must(genericoptions.NewServerRunOptions().ApplyTo(&config.Config))
	must(recommended.Etcd.ApplyTo(&config.Config))
	must(serving.ApplyToConfig(&config.Config))
	known, err := tokenfile.NewCSV(*tokens)
	must(err)
	config.Authentication.Authenticator = bearertoken.New(authenticator.Token(known))
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	config.MergedResourceConfig = apiextensions.DefaultAPIResourceConfigSource()
	namer := openapinamer.NewDefinitionNamer(apiextensions.Scheme, scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	config.ClientConfig = config.LoopbackClientConfig
	client, err := kubernetes.NewForConfig(config.LoopbackClientConfig)
	must(err)
	dynamicClient, err := dynamic.NewForConfig(config.LoopbackClientConfig)
	must(err)
	config.SharedInformerFactory = informers.NewSharedInformerFactory(client, 10*time.Minute)
	admission := recommended.Admission
	admission.DisablePlugins = []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook", "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"}
	must(admission.ApplyTo(&config.Config, config.SharedInformerFactory, client, dynamicClient, config.FeatureGate, config.EffectiveVersion))

	whole := &apiextensions.Config{GenericConfig: config, ExtraConfig: apiextensions.ExtraConfig{
		CRDRESTOptionsGetter: options.NewCRDRESTOptionsGetter(*recommended.Etcd, config.ResourceTransformers, config.StorageObjectCountTracker),
		AuthResolverWrapper:  webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, config.LoopbackClientConfig, noop.NewTracerProvider()),
	}}
	completed := whole.Complete()
	completed.GenericConfig.EnableDiscovery = true
	server, err := completed.New(genericapiserver.NewEmptyDelegate())
	must(err)

	codecs := serializer.NewCodecFactory(scheme)
	builtin := genericoptions.NewEtcdOptions(storagebackend.NewDefaultConfig("/registry", nil))
	builtin.StorageConfig.Transport.ServerList = []string{*etcd}
	builtin.StorageConfig.StorageObjectCountTracker = config.StorageObjectCountTracker
	resources := serverstorage.NewResourceConfig()
	for _, group := range groups {
		resources.EnableVersions(group.version)
	}
	encoding := serverstorage.NewDefaultResourceEncodingConfig(scheme)
	for _, group := range groups {
		name := group.version.Group
		for _, kind := range group.kinds {
			encoding.SetResourceEncoding(schema.GroupResource{Group: name, Resource: kind.plural},
				schema.GroupVersion{Group: name, Version: "v1"}, schema.GroupVersion{Group: name, Version: runtime.APIVersionInternal})
		}
	}
	getter := builtin.CreateRESTOptionsGetter(serverstorage.NewDefaultStorageFactory(builtin.StorageConfig, runtime.ContentTypeJSON, codecs, encoding, resources, nil), nil)
	infos := map[string]*genericapiserver.APIGroupInfo{}
	order := []string{}
	shared := map[string]*registry.Store{}
	for _, group := range groups {
		name := group.version.Group
		if name == networkingv1.GroupName && strings.Contains(","+*without+",", ","+group.version.Version+",") {
			continue
		}
		info := infos[name]
		if info == nil {
			fresh := genericapiserver.NewDefaultAPIGroupInfo(name, scheme, runtime.NewParameterCodec(scheme), codecs)
			fresh.PrioritizedVersions = nil
			info = &fresh
			infos[name] = info
			order = append(order, name)
		}
		info.PrioritizedVersions = append(info.PrioritizedVersions, group.version)
		stores := map[string]rest.Storage{}
		for _, kind := range group.kinds {
			one := shared[name+"/"+kind.plural]
			if one == nil {
				one, err = store(kind, name, getter)
				must(err)
				shared[name+"/"+kind.plural] = one
			}
			stores[kind.plural] = one
			if kind.hasStatus {
				stores[kind.plural+"/status"] = &statusREST{one}
			}
		}
		info.VersionedResourcesStorageMap[group.version.Version] = stores
	}
	for _, name := range order {
		if name == "" {
			must(server.GenericAPIServer.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, infos[name]))
		} else {
			must(server.GenericAPIServer.InstallAPIGroup(infos[name]))
		}
	}
	// Those that exist are left alone.
	server.GenericAPIServer.AddPostStartHookOrDie("first-objects", func(hook genericapiserver.PostStartHookContext) error {
		for _, name := range []string{"default", "kube-system"} {
			_, _ = client.CoreV1().Namespaces().Create(hook, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		}
		// The services' own, as kube-apiserver makes it from its arguments.
		services := metav1.ObjectMeta{Name: "kubernetes"}
		cidrs := []string{"10.96.0.0/16"}
		_, _ = client.NetworkingV1().ServiceCIDRs().Create(hook, &networkingv1.ServiceCIDR{ObjectMeta: services, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}, metav1.CreateOptions{})
		_, _ = client.NetworkingV1beta1().ServiceCIDRs().Create(hook, &networkingv1beta1.ServiceCIDR{ObjectMeta: services, Spec: networkingv1beta1.ServiceCIDRSpec{CIDRs: cidrs}}, metav1.CreateOptions{})
		config.SharedInformerFactory.Start(hook.Done())
		return nil
	})
	must(server.GenericAPIServer.PrepareRun().RunWithContext(genericapiserver.SetupSignalContext()))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
